//! Where a member of one of the kernel's structures is, from the kernel's own description of its
//! types (BTF, `/sys/kernel/btf/vmlinux`). No more of it than that: a library that indexes all
//! hundred thousand types takes a quarter of a second at each start.

use anyhow::{Context as _, Result};

/// The kinds of types that carry data of their own, and how much: fixed bytes, and bytes for each
/// of the elements that the type says it has.
const fn data_of(kind: u32) -> Option<(usize, usize)> {
    Some(match kind {
        // Integer, variable, declaration tag.
        1 | 14 | 17 => (4, 0),
        // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag.
        2 | 7..=12 | 16 | 18 => (0, 0),
        // Array.
        3 => (12, 0),
        // Structure, union, data section, 64-bit enumeration.
        STRUCT | UNION | 15 | 19 => (0, 12),
        // Enumeration, prototype.
        6 | 13 => (0, 8),
        _ => return None,
    })
}

const STRUCT: u32 = 4;
const UNION: u32 = 5;
const MAGIC: u16 = 0xeb9f;

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// A description of types.
pub struct Types {
    data: Vec<u8>,
    /// Where in `data` each type begins; type 0 is the first one's, which nothing refers to.
    types: Vec<usize>,
    /// Where in `data` the names begin.
    names: usize,
}

impl Types {
    /// Those of the running kernel.
    ///
    /// # Errors
    /// If the kernel does not describe its types.
    pub fn of_the_kernel() -> Result<Self> {
        const PATH: &str = "/sys/kernel/btf/vmlinux";
        let data = std::fs::read(PATH).with_context(|| {
            format!("cannot read {PATH} (is the kernel built with CONFIG_DEBUG_INFO_BTF?)")
        })?;
        Self::new(data).with_context(|| format!("{PATH} is not a description of types"))
    }

    fn new(data: Vec<u8>) -> Option<Self> {
        if u16::from_ne_bytes(*data.first_chunk()?) != MAGIC {
            return None;
        }
        let head = word(&data, 4)? as usize;
        let start = head.checked_add(word(&data, 8)? as usize)?;
        let end = start.checked_add(word(&data, 12)? as usize)?;
        let names = head.checked_add(word(&data, 16)? as usize)?;
        if names.checked_add(word(&data, 20)? as usize)? > data.len() {
            return None;
        }
        let mut types = vec![start];
        let mut at = start;
        while at < end {
            types.push(at);
            let info = word(&data, at + 4)?;
            let (fixed, each) = data_of(kind(info))?;
            at += 12 + fixed + each * elements(info);
        }
        Some(Self { data, types, names })
    }

    fn is_named(&self, at: usize, name: &str) -> bool {
        let Some(offset) = word(&self.data, at) else { return false };
        let string = self.data.get(self.names + offset as usize..).unwrap_or_default();
        string.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The byte at which a member of a structure begins.
    ///
    /// # Errors
    /// If the kernel does not describe it.
    pub fn offset(&self, structure: &str, member: &str) -> Result<u32> {
        let is_wanted = |at: &&usize| {
            let info = word(&self.data, **at + 4).unwrap_or_default();
            kind(info) == STRUCT && self.is_named(**at, structure)
        };
        let candidates = self.types.iter().skip(1).filter(is_wanted);
        let found = candidates.filter_map(|&at| self.member(at, member, DEEPEST)).next();
        found.map(|bits| bits / 8).with_context(|| {
            format!("the kernel does not tell where {member} is in its struct {structure}")
        })
    }

    /// The bit at which a member begins, those of members without a name included.
    fn member(&self, at: usize, name: &str, depth: u32) -> Option<u32> {
        let info = word(&self.data, at + 4)?;
        if !matches!(kind(info), STRUCT | UNION) || depth == 0 {
            return None;
        }
        (0..elements(info)).find_map(|n| {
            let member = at + 12 + n * 12;
            let offset = word(&self.data, member + 8)?;
            // With bit fields in the structure, their width stands in the upper byte.
            let bits = if info >> 31 == 1 { offset & 0x00ff_ffff } else { offset };
            if self.is_named(member, name) {
                return Some(bits);
            }
            if word(&self.data, member)? != 0 {
                return None;
            }
            let inner = *self.types.get(word(&self.data, member + 4)? as usize)?;
            Some(bits + self.member(inner, name, depth - 1)?)
        })
    }
}

/// How deep structures without a name are looked into.
const DEEPEST: u32 = 8;

const fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

const fn elements(info: u32) -> usize {
    (info & 0xffff) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An integer, an array and a structure with a bit field and an inner structure without a name,
    /// as the kernel would describe them.
    fn description() -> Vec<u8> {
        let strings = b"\0int\0thing\0first\0second\0inner\0";
        let types: &[u32] = &[
            1,
            1 << 24,
            4,
            0x20, // 1: int
            0,
            3 << 24,
            0,
            1,
            1,
            8, // 2: int[8]
            0,
            4 << 24 | 1,
            8, // 3: struct
            24,
            1,
            32, // inner
            5,
            1 << 31 | 4 << 24 | 3,
            40, // 4: struct thing
            11,
            1,
            3 << 24, // first, three bits wide
            17,
            2,
            64, // second
            0,
            3,
            320, // the structure without a name
        ];
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let head = [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32];
        let mut data = MAGIC.to_ne_bytes().to_vec();
        data.extend([1, 0]);
        data.extend(head.iter().flat_map(|word| word.to_ne_bytes()));
        data.extend(types);
        data.extend(strings);
        data
    }

    #[test]
    fn a_member_is_found() {
        let types = Types::new(description()).unwrap();
        assert_eq!(types.offset("thing", "first").unwrap(), 0);
        assert_eq!(types.offset("thing", "second").unwrap(), 8);
        assert_eq!(types.offset("thing", "inner").unwrap(), 44);
        assert!(types.offset("thing", "third").is_err());
        assert!(types.offset("thin", "second").is_err());
    }

    #[test]
    fn a_description_that_is_cut_short_is_no_panic() {
        let data = description();
        for end in 0..data.len() {
            assert!(Types::new(data[..end].to_vec()).is_none());
        }
    }

    #[test]
    fn the_running_kernel_is_understood() {
        let types = Types::of_the_kernel().unwrap();
        assert!(types.offset("net", "ipv4").unwrap() > 0);
        assert_eq!(types.offset("list_head", "prev").unwrap(), 8);
    }
}
