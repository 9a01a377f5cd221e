//! TCP: connections as they should be, and what else may happen to them in each of their states.

use masq_tests::packet::{Packet, tcp};

use crate::{
    case::{Case, Change, R2},
    generate::Generator,
    segment::{Connection, End::*, external},
};

/// The cases of this group.
pub fn cases(generator: &mut Generator) -> Vec<Case> {
    let mut cases: Vec<_> = (0..6).map(|_| conversation(generator)).collect();
    cases.extend(openings(generator));
    cases.extend(endings(generator));
    cases.extend(resets(generator));
    cases.extend(strays(generator));
    cases.extend(without_session(generator));
    cases.extend(damaged(generator));
    cases
}

/// An open connection with any data in both directions, some of it sent twice.
fn conversation(generator: &mut Generator) -> Case {
    let mut connection = Connection::open("conversation", generator);
    for _ in 0..6 {
        let end = if generator.below(2) == 0 { Client } else { Server };
        let data = generator.data(1400);
        let segment = connection.segment(end, tcp::PSH | tcp::ACK, &data);
        connection = connection.send("data", end, tcp::PSH | tcp::ACK, &data);
        if generator.below(3) == 0 {
            connection = connection.raw("data again", end, segment);
        }
        let other = if end == Client { Server } else { Client };
        connection = connection.send("ack", other, tcp::ACK, b"");
    }
    connection.send("fin", Client, tcp::FIN | tcp::ACK, b"").done()
}

/// Other ways to open one.
fn openings(generator: &mut Generator) -> Vec<Case> {
    let mut options = Connection::new("options", generator);
    let mut segment = options.segment(Client, tcp::SYN, b"");
    segment.options =
        [&[2, 4, 5, 0xb4][..], &[4, 2, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0, 1, 3, 3, 7]].concat();
    options = options.raw("syn with options", Client, segment);
    vec![
        options.done(),
        Connection::new("syn twice", generator).syn().again().syn().syn_ack().works().done(),
        Connection::new("syn with ecn", generator)
            .send("syn", Client, tcp::SYN | 0xc0, b"")
            .syn_ack()
            .works()
            .done(),
        Connection::new("syn with data", generator)
            .send("syn", Client, tcp::SYN, b"early")
            .syn_ack()
            .works()
            .done(),
        Connection::new("simultaneous open", generator)
            .syn()
            .send("syn", Server, tcp::SYN, b"")
            .stray("syn/ack", Client, tcp::SYN | tcp::ACK, [u32::MAX, 0])
            .stray("syn/ack", Server, tcp::SYN | tcp::ACK, [u32::MAX, 0])
            .works()
            .done(),
        Connection::new("data before the answer", generator)
            .syn()
            .send("data", Client, tcp::PSH | tcp::ACK, b"impatient")
            .syn_ack()
            .works()
            .done(),
        Connection::new("refused", generator)
            .syn()
            .send("rst", Server, tcp::RST | tcp::ACK, b"")
            .again()
            .syn()
            .syn_ack()
            .works()
            .done(),
        Connection::new("answer with a wrong number", generator)
            .syn()
            .stray("syn/ack", Server, tcp::SYN | tcp::ACK, [0, 77])
            .stray("ack", Server, tcp::ACK, [0, 77])
            .done(),
        Connection::new("data as first answer", generator)
            .syn()
            .send("data", Server, tcp::PSH | tcp::ACK, b"unexpected")
            .done(),
    ]
}

/// Both orders of closing, and what comes after.
fn endings(generator: &mut Generator) -> Vec<Case> {
    let fin = tcp::FIN | tcp::ACK;
    let mut cases = Vec::new();
    for (first, second, name) in [(Client, Server, "client"), (Server, Client, "server")] {
        let half = |name: &str, generator: &mut Generator| {
            Connection::open(name, generator).works().send("fin", first, fin, b"").send(
                "ack",
                second,
                tcp::ACK,
                b"",
            )
        };
        let closed = |name: &str, generator: &mut Generator| {
            half(name, generator).send("second fin", second, fin, b"").send(
                "last ack",
                first,
                tcp::ACK,
                b"",
            )
        };
        let half_closed = half(&format!("{name} closes one direction"), generator)
            .send("data", second, tcp::PSH | tcp::ACK, b"still here")
            .send("ack", first, tcp::ACK, b"")
            .send("second fin", second, fin, b"")
            .send("last ack", first, tcp::ACK, b"");
        cases.push(half_closed.done());
        let late = closed(&format!("{name} closes, late segments"), generator)
            .stray("second fin again", second, fin, [u32::MAX, 0])
            .stray("last ack again", first, tcp::ACK, [0, 0])
            .stray("rst", second, tcp::RST, [0, 0]);
        cases.push(late.done());
        let again = closed(&format!("{name} closes, same ports again"), generator);
        cases.push(again.again().syn().syn_ack().works().done());
        let early = half(&format!("{name} closes, syn in between"), generator);
        cases.push(early.again().syn().syn_ack().works().done());
    }
    let both = Connection::open("both close at once", generator)
        .stray("fin", Client, fin, [0, 0])
        .stray("fin", Server, fin, [0, 0])
        .stray("ack", Client, tcp::ACK, [1, 1])
        .stray("ack", Server, tcp::ACK, [1, 1]);
    cases.push(both.done());
    cases
}

/// Brings a connection into a state.
type Reach = fn(Connection) -> Connection;

/// A reset in each state, from each end, and whether anything gets through afterwards.
fn resets(generator: &mut Generator) -> Vec<Case> {
    let states: [(&str, Reach); 4] = [
        ("syn sent", |c| c.syn()),
        ("syn answered", |c| c.syn().syn_ack()),
        ("established", |c| c.syn().syn_ack().send("ack", Client, tcp::ACK, b"").works()),
        ("half closed", |c| {
            c.syn()
                .syn_ack()
                .send("ack", Client, tcp::ACK, b"")
                .send("fin", Client, tcp::FIN | tcp::ACK, b"")
                .send("ack", Server, tcp::ACK, b"")
        }),
    ];
    let mut cases = Vec::new();
    for (state, reach) in states {
        for (end, name) in [(Client, "client"), (Server, "server")] {
            let name = format!("{name} resets, {state}");
            let connection = reach(Connection::new(&name, generator))
                .send("rst", end, tcp::RST | tcp::ACK, b"")
                .stray("after the rst", Client, tcp::ACK, [0, 0])
                .stray("after the rst", Server, tcp::ACK, [0, 0])
                .again()
                .syn()
                .syn_ack()
                .works();
            cases.push(connection.done());
        }
    }
    cases
}

/// Segments with numbers that do not fit into an open connection.
fn strays(generator: &mut Generator) -> Vec<Case> {
    let flags = [
        ("ack", tcp::ACK),
        ("fin", tcp::FIN | tcp::ACK),
        ("rst", tcp::RST),
        ("syn", tcp::SYN),
        ("syn/ack", tcp::SYN | tcp::ACK),
    ];
    let mut cases = Vec::new();
    for (name, flags) in flags {
        for (end, from) in [(Client, "client"), (Server, "server")] {
            for (by, where_) in
                [([1 << 20, 0], "ahead"), ([0_u32.wrapping_sub(1 << 20), 0], "behind")]
            {
                let name = format!("stray {name} of the {from}, {where_}");
                let connection =
                    Connection::open(&name, generator).works().stray("stray", end, flags, by);
                cases.push(connection.works().done());
            }
        }
    }
    cases
}

/// Segments of no connection, and of somebody who is not part of one.
fn without_session(generator: &mut Generator) -> Vec<Case> {
    let kinds = [
        ("ack", tcp::ACK),
        ("data", tcp::PSH | tcp::ACK),
        ("fin", tcp::FIN | tcp::ACK),
        ("rst", tcp::RST),
        ("rst/ack", tcp::RST | tcp::ACK),
        ("syn/ack", tcp::SYN | tcp::ACK),
        ("syn/fin", tcp::SYN | tcp::FIN),
        ("syn/rst", tcp::SYN | tcp::RST),
        ("no flags", 0),
        ("all flags", 0x3f),
    ];
    let mut cases = Vec::new();
    for (name, flags) in kinds {
        let connection = Connection::new(&format!("{name} of no connection"), generator)
            .send("first", Client, flags, b"")
            .stray("answer", Server, tcp::ACK, [0, 0]);
        cases.push(connection.done());
    }
    for (name, flags) in [("syn", tcp::SYN), ("ack", tcp::ACK), ("rst", tcp::RST)] {
        let connection = Connection::open(&format!("{name} of another host"), generator)
            .works()
            .then(|case, inside, remote| {
                case.wan("intruder", move |k| {
                    Packet::tcp((R2, remote.1), external(k, inside, remote), flags, b"")
                })
            });
        cases.push(connection.works().done());
    }
    cases
}

/// Segments that are not as they should be.
fn damaged(generator: &mut Generator) -> Vec<Case> {
    let changes: [(&str, Change); 4] = [
        ("wrong checksum", |packet| packet[36] ^= 1),
        ("changed window", |packet| packet[34] ^= 1),
        ("header too short", |packet| packet[32] = 0x40),
        ("header too long", |packet| packet[32] = 0xf0),
    ];
    let mut cases = Vec::new();
    for (name, change) in changes {
        let first = Connection::new(&format!("{name}, first"), generator);
        let segment = first.segment(Client, tcp::SYN, b"");
        cases
            .push(first.changed("damaged", Client, segment, change).syn().syn_ack().works().done());
        for (end, from) in [(Client, "client"), (Server, "server")] {
            let open = Connection::open(&format!("{name}, {from}"), generator).works();
            let segment = open.segment(end, tcp::PSH | tcp::ACK, b"");
            cases.push(open.changed("damaged", end, segment, change).works().done());
        }
    }
    cases
}
