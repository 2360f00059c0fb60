//! Declarations of libzmq 4.3.5 for the `zmq` crate, in place of its own `zmq-sys`.
//!
//! The `zmq` crate 0.10 builds libzmq 4.3.4 without CURVE. This package has the name and the
//! version that the crate asks for, and builds 4.3.5 with libsodium instead; the C interface of
//! both is the same. Only what the crate and Starlog call is declared.
//!
//! One thing is done on purpose beyond declaring: [`zmq_errno`] translates numbers that the `zmq`
//! crate does not know, because it panics on them and a peer can cause some of them.

#![allow(non_camel_case_types)]

mod constants;
pub mod errno;

pub use constants::*;
use libc::{c_char, c_int, c_long, c_short, c_uchar, c_void};
// Links libsodium into whatever links libzmq.
extern crate libsodium_sys as _;

/// A file descriptor as `zmq_pollitem_t` holds it.
pub type RawFd = c_int;

/// `zmq_msg_t`: 64 opaque bytes, aligned like a pointer.
#[repr(C, align(8))]
#[derive(Debug, Copy, Clone)]
pub struct zmq_msg_t {
    bytes: [c_uchar; 64],
}

impl Default for zmq_msg_t {
    fn default() -> Self {
        Self { bytes: [0; 64] }
    }
}

/// One entry of the array given to `zmq_poll`.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct zmq_pollitem_t {
    pub socket: *mut c_void,
    pub fd: RawFd,
    pub events: c_short,
    pub revents: c_short,
}

const _: () = assert!(size_of::<zmq_msg_t>() == 64 && align_of::<zmq_msg_t>() == 8);
const _: () = assert!(size_of::<zmq_pollitem_t>() == 16);

/// Called by libzmq, on an I/O thread, when it no longer needs the bytes of a message.
pub type zmq_free_fn = Option<unsafe extern "C" fn(data: *mut c_void, hint: *mut c_void)>;

unsafe extern "C" {
    pub fn zmq_version(major: *mut c_int, minor: *mut c_int, patch: *mut c_int);
    pub fn zmq_strerror(number: c_int) -> *const c_char;
    pub fn zmq_has(capability: *const c_char) -> c_int;

    pub fn zmq_ctx_new() -> *mut c_void;
    pub fn zmq_ctx_get(context: *mut c_void, option: c_int) -> c_int;
    pub fn zmq_ctx_set(context: *mut c_void, option: c_int, value: c_int) -> c_int;
    pub fn zmq_ctx_term(context: *mut c_void) -> c_int;

    pub fn zmq_socket(context: *mut c_void, kind: c_int) -> *mut c_void;
    pub fn zmq_close(socket: *mut c_void) -> c_int;
    pub fn zmq_bind(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_unbind(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_connect(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_disconnect(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_getsockopt(
        socket: *mut c_void,
        option: c_int,
        value: *mut c_void,
        bytes: *mut usize,
    ) -> c_int;
    pub fn zmq_setsockopt(
        socket: *mut c_void,
        option: c_int,
        value: *const c_void,
        bytes: usize,
    ) -> c_int;
    pub fn zmq_socket_monitor(socket: *mut c_void, endpoint: *const c_char, events: c_int)
        -> c_int;
    pub fn zmq_recv(socket: *mut c_void, buffer: *mut c_void, bytes: usize, flags: c_int) -> c_int;

    pub fn zmq_msg_init(message: *mut zmq_msg_t) -> c_int;
    pub fn zmq_msg_init_size(message: *mut zmq_msg_t, bytes: usize) -> c_int;
    pub fn zmq_msg_init_data(
        message: *mut zmq_msg_t,
        data: *mut c_void,
        bytes: usize,
        free: zmq_free_fn,
        hint: *mut c_void,
    ) -> c_int;
    pub fn zmq_msg_send(message: *mut zmq_msg_t, socket: *mut c_void, flags: c_int) -> c_int;
    pub fn zmq_msg_recv(message: *mut zmq_msg_t, socket: *mut c_void, flags: c_int) -> c_int;
    pub fn zmq_msg_close(message: *mut zmq_msg_t) -> c_int;
    pub fn zmq_msg_data(message: *mut zmq_msg_t) -> *mut c_void;
    pub fn zmq_msg_size(message: *const zmq_msg_t) -> usize;
    pub fn zmq_msg_more(message: *const zmq_msg_t) -> c_int;
    pub fn zmq_msg_gets(message: *const zmq_msg_t, property: *const c_char) -> *const c_char;

    pub fn zmq_poll(items: *mut zmq_pollitem_t, count: c_int, timeout: c_long) -> c_int;
    pub fn zmq_proxy(frontend: *mut c_void, backend: *mut c_void, capture: *mut c_void) -> c_int;
    pub fn zmq_proxy_steerable(
        frontend: *mut c_void,
        backend: *mut c_void,
        capture: *mut c_void,
        control: *mut c_void,
    ) -> c_int;

    pub fn zmq_curve_keypair(public_key: *mut c_char, secret_key: *mut c_char) -> c_int;
    pub fn zmq_z85_encode(text: *mut c_char, data: *const u8, bytes: usize) -> *mut c_char;
    pub fn zmq_z85_decode(data: *mut u8, text: *const c_char) -> *mut u8;

    #[link_name = "zmq_errno"]
    fn raw_errno() -> c_int;
}

/// The number of the last error of this thread, as one that the `zmq` crate knows.
///
/// # Safety
/// None beyond linking libzmq: the call reads a thread-local number.
pub unsafe fn zmq_errno() -> c_int {
    // SAFETY: zmq_errno takes nothing and only reads errno.
    errno::known(unsafe { raw_errno() })
}
