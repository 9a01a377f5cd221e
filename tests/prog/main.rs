//! The kernel programs, packet by packet, through BPF_PROG_TEST_RUN.

mod fast;
mod malformed;
mod table;
mod vectors;
mod wan_in;
mod wan_out;
