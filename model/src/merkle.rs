//! The root of a Merkle tree: one hash that stands for every row of a list, in order, and from which any one row can be
//! shown to be in it without the others.
//!
//! Leaves and inner nodes are hashed apart (`0x00`, `0x01` before them), so that no row can pass for a node. An odd
//! node out goes up as it is. Source: RFC 6962, section 2.1.

use sha2::{Digest, Sha256};

/// One hash.
pub type Hash = [u8; 32];

/// The root over rows; of no rows, the hash of nothing.
pub fn root<'a>(rows: impl IntoIterator<Item = &'a [u8]>) -> Hash {
    let mut level: Vec<Hash> = rows.into_iter().map(|row| hash(0, &[row])).collect();
    if level.is_empty() {
        return Sha256::digest([]).into();
    }
    // RFC 6962 splits at the largest power of two below n: the same tree as pairing from the left, odd one out going up.
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => hash(1, &[left, right]),
                [alone] => *alone,
                _ => unreachable!("chunks of two"),
            })
            .collect();
    }
    level[0]
}

fn hash(kind: u8, parts: &[&[u8]]) -> Hash {
    let mut state = Sha256::new();
    state.update([kind]);
    parts.iter().for_each(|part| state.update(part));
    state.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::hex;

    /// Vectors of the Certificate Transparency reference (`merkletree_test`): the first n of eight inputs.
    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let known = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        for (n, known) in known.into_iter().enumerate() {
            assert_eq!(hex(&root(inputs[..=n].iter().copied())), known, "{} rows", n + 1);
        }
        assert_eq!(hex(&root([])), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn order_and_every_row_count() {
        let rows: Vec<Vec<u8>> = (0..9u8).map(|i| vec![i]).collect();
        let of = |rows: &[Vec<u8>]| root(rows.iter().map(Vec::as_slice));
        let whole = of(&rows);
        for ix in 0..rows.len() {
            let mut other = rows.clone();
            other[ix].push(0);
            assert_ne!(of(&other), whole, "row {ix} changed");
            other.remove(ix);
            assert_ne!(of(&other), whole, "row {ix} gone");
        }
        let mut turned = rows.clone();
        turned.swap(0, 1);
        assert_ne!(of(&turned), whole);
    }
}
