//! Which addresses are public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address that belongs to nobody's private network, to no machine itself, and to no special
/// purpose. What is not surely public is not public.
pub(in crate::sandbox) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => public_v4(ip),
        IpAddr::V6(ip) => public_v6(ip),
    }
}

fn public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 31, 196)
            | (192, 52, 193)
            | (192, 88, 99)
            | (192, 175, 48)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn public_v6(ip: Ipv6Addr) -> bool {
    // Only 2000::/3 is handed out; of it, everything that carries or stands for something else.
    let [a, b, c, ..] = ip.segments();
    let handed_out = (0x2000..=0x3FFF).contains(&a);
    let special = match (a, b) {
        // Teredo, benchmarking, ORCHID, documentation and the like: 2001:0000::/23.
        // 2002::/16 (6to4) carries an IPv4 address; 3fff::/20 is for documentation.
        (0x2001, 0..=0x01FF | 0x0DB8) | (0x2002, _) | (0x3FFF, 0..=0x0FFF) => true,
        (0x2620, 0x004F) => c == 0x8000,
        _ => false,
    };
    handed_out && !special
}

/// `ip` lies in the block of `bits` leading bits around `base`.
pub(in crate::sandbox) fn within(base: IpAddr, bits: u8, ip: IpAddr) -> bool {
    match (base, ip) {
        (IpAddr::V4(base), IpAddr::V4(ip)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            base.to_bits() & mask == ip.to_bits() & mask
        }
        (IpAddr::V6(base), IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            base.to_bits() & mask == ip.to_bits() & mask
        }
        _ => false,
    }
}
