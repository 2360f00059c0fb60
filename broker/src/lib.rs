//! Front page to come.
#[cfg(test)]
mod tests {
    #[test]
    fn libzmq_is_4_3_5_with_curve() {
        assert_eq!(zmq::version(), (4, 3, 5));
        assert_eq!(zmq::has("curve"), Some(true));
    }
}
