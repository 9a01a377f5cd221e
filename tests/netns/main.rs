//! End to end: real sockets in namespaces.

mod smoke;
