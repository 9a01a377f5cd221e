//! The kernel programs, packet by packet, through BPF_PROG_TEST_RUN.

mod vectors;
