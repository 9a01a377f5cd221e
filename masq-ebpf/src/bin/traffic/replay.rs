//! The same packet for a program again and again.
//!
//! `BPF_PROG_TEST_RUN` can repeat a program, but on the packet that the last run has left: after
//! the first translation there would be nothing to translate. So these programs are repeated
//! instead: each writes the headers anew, with a port of its own for each of a number of flows, and
//! calls the program that is measured. What they cost themselves is told by a program that does
//! nothing.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{TC_ACT_OK, xdp_action::XDP_PASS},
    btf_maps::{Array, ProgramArray},
    helpers::bpf_xdp_adjust_head,
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};

use crate::{
    Window, front,
    plan::{ADDRESSES, PPPOE, Sample, TAG, TAG_AND_PPPOE, WORDS, word},
    window, words,
};

/// What is returned if the other program could not be called: no verdict of any kind.
const NOT_CALLED: u32 = i32::MAX as u32;

/// The packet.
#[btf_map]
static SAMPLE: Array<Sample, 1> = Array::new();
/// The program to call at XDP. One element.
#[btf_map]
static XDP_TARGET: ProgramArray<1> = ProgramArray::new();
/// The program to call at TC. One element.
#[btf_map]
static TC_TARGET: ProgramArray<1> = ProgramArray::new();

#[xdp]
fn replay_xdp(ctx: XdpContext) -> u32 {
    if begin_again(&ctx).is_some() && restore(window(&ctx)).is_some() {
        // SAFETY: the array holds programs of this kind only.
        unsafe { XDP_TARGET.tail_call(&ctx, 0) };
    }
    NOT_CALLED
}

#[classifier]
fn replay_tc(ctx: TcContext) -> i32 {
    if restore((ctx.data(), ctx.data_end())).is_some() {
        // SAFETY: the array holds programs of this kind only.
        unsafe { TC_TARGET.tail_call(&ctx, 0) };
    }
    NOT_CALLED as i32
}

/// Has the frame begin where it did, if the program moves that. The helper is called even if there is
/// nothing to move, so that it takes the same time for a program that does nothing.
#[inline(always)]
fn begin_again(ctx: &XdpContext) -> Option<()> {
    let size = SAMPLE.get(0)?.size;
    if size != 0 {
        let (start, end) = window(ctx);
        let longer = (end - start) as i32 - size as i32;
        // SAFETY: the context is valid; whoever calls reads the window anew.
        if unsafe { bpf_xdp_adjust_head(ctx.as_ptr().cast(), longer) } != 0 {
            return None;
        }
    }
    Some(())
}

#[inline(always)]
fn restore(window: Window) -> Option<()> {
    let sample = SAMPLE.get_ptr_mut(0)?;
    // SAFETY: only one test run of these programs is under way at a time.
    let sample = unsafe { &mut *sample };
    match usize::from(sample.front.more) {
        0 => write_headers::<0>(window, sample)?,
        TAG => write_all::<TAG, { ADDRESSES + TAG }>(window, sample)?,
        PPPOE => write_all::<PPPOE, { ADDRESSES + PPPOE }>(window, sample)?,
        _ => write_all::<TAG_AND_PPPOE, { ADDRESSES + TAG_AND_PPPOE }>(window, sample)?,
    }
    let after = sample.flow + sample.stride;
    sample.flow = if after >= sample.flows { after - sample.flows } else { after };
    Some(())
}

#[inline(always)]
fn write_all<const MORE: usize, const FRONT: usize>(window: Window, sample: &Sample) -> Option<()> {
    write_headers::<MORE>(window, sample)?;
    front::write::<FRONT>(window, &sample.front)
}

#[inline(always)]
fn write_headers<const MORE: usize>(window: Window, sample: &Sample) -> Option<()> {
    let frame: &mut [u16; WORDS] = words(window, 2 * MORE)?;
    *frame = sample.headers;
    let port = (sample.first_port + sample.flow as u16).to_be();
    if sample.end == 0 {
        frame[word::PORTS] = port;
    } else {
        frame[word::PORTS + 1] = port;
    }
    Some(())
}

#[xdp]
fn nothing_xdp(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

#[classifier]
fn nothing_tc(_ctx: TcContext) -> i32 {
    TC_ACT_OK
}
