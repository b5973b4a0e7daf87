use super::{ARCH, Action, Case, Surroundings, Table, Verdict, compile, table::table as refusals};

struct Call {
    arch: u32,
    number: u32,
    args: [u64; 6],
}

/// The kernel's interpreter, as far as our programs use it.
fn decide(program: &[libc::sock_filter], call: &Call) -> u32 {
    let mut at = 0;
    let mut word = 0_u32;
    loop {
        let op = program[at];
        at += 1;
        match op.code {
            super::LOAD => {
                word = match op.k {
                    0 => call.number,
                    4 => call.arch,
                    k => {
                        assert_eq!(k % 8, 0, "the low half of an argument");
                        call.args[(k as usize - 16) / 8] as u32
                    }
                }
            }
            super::AND => word &= op.k,
            super::JUMP => at += op.k as usize,
            super::EQUAL => at += usize::from(if word == op.k { op.jt } else { op.jf }),
            super::AT_LEAST => at += usize::from(if word >= op.k { op.jt } else { op.jf }),
            super::RETURN => return op.k,
            code => panic!("unknown code {code}"),
        }
    }
}

fn expected(table: &Table, call: &Call) -> u32 {
    let action = match table.get(&call.number) {
        None => Action::Allow,
        Some(Verdict::Always(action)) => *action,
        Some(Verdict::Cases(cases)) => cases
            .iter()
            .find(|case| holds(case, call))
            .map_or(Action::Allow, |case| case.then),
    };
    action.word()
}

fn holds(case: &Case, call: &Call) -> bool {
    case.tests.iter().all(|test| {
        let value = call.args[usize::from(test.arg)] as u32 & test.mask;
        (value == test.value) == test.equal
    })
}

fn all_surroundings() -> Vec<Surroundings> {
    let mut all = Vec::new();
    for bits in 0..16 {
        for landlock in [1, 4, 7] {
            all.push(Surroundings {
                shared: bits & 1 != 0,
                network: bits & 2 != 0,
                same_user: bits & 4 != 0,
                watched: bits & 8 != 0,
                landlock,
                protect: vec![77, 4_194_304],
            });
        }
    }
    all
}

fn arguments() -> Vec<[u64; 6]> {
    let values = [
        0,
        1,
        2,
        3,
        6,
        10,
        16,
        17,
        30,
        77,
        u64::MAX,
        0x5412,
        0x1_0000_5412,
        0o4755,
        0o2000,
        0o20666,
        0o100,
        0x1000_0000,
        0x2000_0000,
        0x8_0001,
    ];
    let mut all = Vec::new();
    for a in values {
        for b in values {
            all.push([a, b, 0, 0, 0, 0]);
            all.push([0, a, b, 0o4755, 0, 0]);
            all.push([2, a, b, a, 0, 0]);
        }
    }
    all
}

#[test]
fn the_program_decides_as_the_table_says() {
    let arguments = arguments();
    for around in all_surroundings() {
        let table = refusals(&around);
        let program = compile(&table);
        for number in 0..600 {
            let plain = !matches!(table.get(&number), Some(Verdict::Cases(_)));
            for args in arguments.iter().take(if plain { 1 } else { usize::MAX }) {
                let call = Call {
                    arch: ARCH,
                    number,
                    args: *args,
                };
                assert_eq!(
                    decide(&program, &call),
                    expected(&table, &call),
                    "call {number} with {args:x?} in {around:?}"
                );
            }
        }
    }
}

#[test]
fn the_program_is_small_enough_to_load() {
    for around in all_surroundings() {
        assert!(compile(&refusals(&around)).len() < 2000);
    }
}

#[test]
fn another_architecture_is_the_end() {
    let program = compile(&refusals(&Surroundings::default()));
    let call = Call {
        arch: 0x4000_0003,
        number: 1,
        args: [0; 6],
    };
    assert_eq!(decide(&program, &call), libc::SECCOMP_RET_KILL_PROCESS);
}

#[test]
fn the_x32_interface_does_not_exist() {
    let program = compile(&refusals(&Surroundings::default()));
    for number in [0x4000_0000, 0x4000_0000 + 101, u32::MAX] {
        let call = Call {
            arch: ARCH,
            number,
            args: [0; 6],
        };
        let missing = Action::Errno(u16::try_from(libc::ENOSYS).unwrap()).word();
        assert_eq!(decide(&program, &call), missing);
    }
}

#[test]
fn sockets_are_allowed_by_family() {
    let verdict = |shared: bool, network: bool, args: [u64; 3]| {
        let around = Surroundings {
            shared,
            network,
            ..Surroundings::default()
        };
        let call = Call {
            arch: ARCH,
            number: u32::try_from(libc::SYS_socket).unwrap(),
            args: [args[0], args[1], args[2], 0, 0, 0],
        };
        decide(&compile(&refusals(&around)), &call)
    };
    let handed = |args| verdict(true, true, args) == libc::SECCOMP_RET_USER_NOTIF;
    let verdict = |shared, network, args| verdict(shared, network, args) == libc::SECCOMP_RET_ALLOW;
    let (unix, inet, netlink, packet, alg, vsock) = (1, 2, 16, 17, 38, 40);
    let (stream, dgram, raw, nonblock) = (1, 2, 3, 0o4000);
    assert!(verdict(false, false, [unix, stream, 0]));
    assert!(verdict(false, false, [inet, stream | nonblock, 6]));
    assert!(verdict(false, false, [inet, dgram, 0]));
    assert!(verdict(false, false, [netlink, raw, 0]));
    assert!(!verdict(false, false, [netlink, raw, 12]), "nfnetlink");
    assert!(!verdict(false, false, [inet, raw, 1]));
    assert!(!verdict(false, false, [inet, stream, 262]), "MPTCP");
    assert!(!verdict(false, false, [inet, dgram, 1]), "ping");
    for family in [packet, alg, vsock] {
        assert!(
            !verdict(false, true, [family, stream, 0]),
            "family {family}"
        );
    }
    assert!(!verdict(true, false, [unix, stream, 0]));
    assert!(!verdict(true, false, [inet, stream, 0]));
    assert!(handed([inet, stream | nonblock, 6]));
    let refused = |args| !handed(args) && !verdict(true, true, args);
    assert!(
        [[inet, dgram, 0], [10, stream, 0], [unix, stream, 0]]
            .into_iter()
            .all(refused)
    );
}
