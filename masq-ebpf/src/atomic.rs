//! Atomic operations on 64-bit words of maps.
//!
//! The BPF target of rustc offers no read-modify-write atomics in `core` although the instruction
//! set has them since Linux 5.12; hence the instructions themselves. On any other target (clippy,
//! rust-analyzer) `core`'s atomics stand in.

/// Adds to a word.
///
/// # Safety
/// `word` has to be a valid, aligned pointer into a map value that is only changed atomically.
#[inline(always)]
pub unsafe fn add(word: *mut u64, value: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the caller vouches for the pointer; the instruction touches that word only.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({word} + 0) += {value}",
            word = in(reg) word,
            value = in(reg) value,
            options(nostack),
        );
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
        AtomicU64::from_ptr(word).fetch_add(value, Relaxed);
    }
}

/// Takes one off a word; what it was before.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn decrement(word: *mut u64) -> u64 {
    // SAFETY: as the caller promises.
    unsafe { fetch_add(word, u64::MAX) }
}

/// Adds to a word; what it was before. A full barrier.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn fetch_add(word: *mut u64, value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let before: u64;
        // SAFETY: the caller vouches for the pointer; the instruction touches that word only.
        unsafe {
            core::arch::asm!(
                "{value} = atomic_fetch_add((u64 *)({word} + 0), {value})",
                word = in(reg) word,
                value = inlateout(reg) value => before,
                options(nostack),
            );
        }
        before
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
        AtomicU64::from_ptr(word).fetch_add(value, SeqCst)
    }
}

/// Replaces a word by `new` if it still is `old`; whether it was. A full barrier.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn swap(word: *mut u64, old: u64, new: u64) -> bool {
    #[cfg(target_arch = "bpf")]
    {
        let found: u64;
        // SAFETY: the caller vouches for the pointer; the instruction takes the old value in r0
        // and leaves there what it has found.
        unsafe {
            core::arch::asm!(
                "r0 = cmpxchg_64({word} + 0, r0, {new})",
                word = in(reg) word,
                new = in(reg) new,
                inlateout("r0") old => found,
                options(nostack),
            );
        }
        found == old
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
        AtomicU64::from_ptr(word).compare_exchange(old, new, SeqCst, SeqCst).is_ok()
    }
}
