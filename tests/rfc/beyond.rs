//! What users rely on without any RFC.

mod connections;
mod headers;
mod limits;
mod network;
mod protocols;
