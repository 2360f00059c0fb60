//! Error numbers, and the translation of those that the `zmq` crate would panic on.

use libc::c_int;
pub use libc::{
    EACCES, EADDRINUSE, EADDRNOTAVAIL, EAGAIN, EBUSY, ECONNREFUSED, EFAULT, EHOSTUNREACH,
    EINPROGRESS, EINTR, EINVAL, EMFILE, EMSGSIZE, ENAMETOOLONG, ENETDOWN, ENOBUFS, ENODEV, ENOENT,
    ENOMEM, ENOTCONN, ENOTSOCK, ENOTSUP, EPROTO, EPROTONOSUPPORT,
};

/// Base of the numbers that libzmq defines itself.
const ZMQ_HAUSNUMERO: c_int = 156_384_712;

pub const EFSM: c_int = ZMQ_HAUSNUMERO + 51;
pub const ENOCOMPATPROTO: c_int = ZMQ_HAUSNUMERO + 52;
pub const ETERM: c_int = ZMQ_HAUSNUMERO + 53;
pub const EMTHREAD: c_int = ZMQ_HAUSNUMERO + 54;

pub const ENOTSUP_ALT: c_int = ZMQ_HAUSNUMERO + 1;
pub const EPROTONOSUPPORT_ALT: c_int = ZMQ_HAUSNUMERO + 2;
pub const ENOBUFS_ALT: c_int = ZMQ_HAUSNUMERO + 3;
pub const ENETDOWN_ALT: c_int = ZMQ_HAUSNUMERO + 4;
pub const EADDRINUSE_ALT: c_int = ZMQ_HAUSNUMERO + 5;
pub const EADDRNOTAVAIL_ALT: c_int = ZMQ_HAUSNUMERO + 6;
pub const ECONNREFUSED_ALT: c_int = ZMQ_HAUSNUMERO + 7;
pub const EINPROGRESS_ALT: c_int = ZMQ_HAUSNUMERO + 8;
pub const ENOTSOCK_ALT: c_int = ZMQ_HAUSNUMERO + 9;
pub const EMSGSIZE_ALT: c_int = ZMQ_HAUSNUMERO + 10;
pub const EAFNOSUPPORT_ALT: c_int = ZMQ_HAUSNUMERO + 11;
pub const ENETUNREACH_ALT: c_int = ZMQ_HAUSNUMERO + 12;
pub const ECONNABORTED_ALT: c_int = ZMQ_HAUSNUMERO + 13;
pub const ECONNRESET_ALT: c_int = ZMQ_HAUSNUMERO + 14;
pub const ENOTCONN_ALT: c_int = ZMQ_HAUSNUMERO + 15;
pub const ETIMEDOUT_ALT: c_int = ZMQ_HAUSNUMERO + 16;
pub const EHOSTUNREACH_ALT: c_int = ZMQ_HAUSNUMERO + 17;
pub const ENETRESET_ALT: c_int = ZMQ_HAUSNUMERO + 18;

/// Gives a number that the `zmq` crate has a name for; those it knows pass unchanged.
pub(crate) fn known(number: c_int) -> c_int {
    match number {
        libc::ENFILE => EMFILE,
        libc::EPERM => EACCES,
        libc::ECONNRESET => ECONNRESET_ALT,
        libc::ECONNABORTED | libc::EPIPE => ECONNABORTED_ALT,
        libc::ENETUNREACH => ENETUNREACH_ALT,
        libc::ENETRESET => ENETRESET_ALT,
        libc::ETIMEDOUT => ETIMEDOUT_ALT,
        libc::EAFNOSUPPORT => EAFNOSUPPORT_ALT,
        EACCES | EADDRINUSE | EADDRNOTAVAIL | EAGAIN | EBUSY | ECONNREFUSED | EFAULT
        | EHOSTUNREACH | EINPROGRESS | EINTR | EINVAL | EMFILE | EMSGSIZE | ENAMETOOLONG
        | ENETDOWN | ENOBUFS | ENODEV | ENOENT | ENOMEM | ENOTCONN | ENOTSOCK | ENOTSUP
        | EPROTO | EPROTONOSUPPORT | EFSM | ENOCOMPATPROTO | ETERM | EMTHREAD => number,
        own if (ENOTSUP_ALT..=ENETRESET_ALT).contains(&own) => number,
        _ => EPROTO,
    }
}
