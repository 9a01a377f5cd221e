//! `masq-demo`: masq at work, on real traffic, in a network of namespaces that is gone afterwards.
//!
//! For each mode the network of [`lab`](masq_tests::lab) is built anew, `masq run` is started in
//! its router, and the hosts do what hosts do. Then the speed is compared with plain forwarding and
//! with the kernel's masquerade. Every step is one line; the exit code is 0 only if all have held.

mod script;
mod speed;
mod steps;

use std::process::ExitCode;

use anstream::println;
use clap::Parser;
use masq_tests::{
    console::{BOLD, DIM, GREEN, RED, RESET},
    daemon::Mode,
    netns, supervised,
};
use script::Script;

/// Shows masq at work: two LAN hosts behind a router reach two servers, in a network of namespaces
/// on this machine. Needs root; takes about a minute; leaves nothing behind.
#[derive(Parser, Debug)]
#[command(name = "masq-demo", version)]
struct Options {
    /// Show one mode only: tc or xdp
    #[arg(long, value_name = "MODE", value_parser = mode)]
    mode: Option<Mode>,

    /// Leave the comparison of speed out
    #[arg(long)]
    no_speed: bool,
}

fn mode(text: &str) -> Result<Mode, String> {
    let known = [Mode::Tc, Mode::Xdp];
    known.into_iter().find(|mode| mode.as_str() == text).ok_or("tc or xdp".to_owned())
}

const NETWORK: &str = "
  LAN                          router                          Internet
  a  192.168.1.10 ─┐                                       ┌─ server1 198.51.100.1
                   ├─ 192.168.1.1  masq  203.0.113.5 ─ isp ┤
  b  192.168.1.11 ─┘                                       └─ server2 198.51.100.2
";

fn main() -> ExitCode {
    // Usage errors and --help need neither root nor a second process.
    Options::parse();
    supervised::run(work)
}

fn work() -> ExitCode {
    let options = Options::parse();
    script::remember_panics();
    println!("{BOLD}masq: a LAN shares one address{RESET}{DIM}\n{NETWORK}{RESET}");
    let mut script = Script::default();
    if script.step("this machine", |_| needs()) {
        for mode in [Mode::Tc, Mode::Xdp] {
            if options.mode.is_none_or(|wanted| wanted == mode) {
                steps::show(&mut script, mode);
            }
        }
        if !options.no_speed {
            speed::show(&mut script);
        }
    }
    summary(&script)
}

/// What every step needs.
fn needs() -> Result<String, String> {
    netns::require_root();
    let program = masq_tests::daemon::program();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(format!("Linux {}, {}", kernel.trim(), program.display()))
}

fn summary(script: &Script) -> ExitCode {
    println!();
    if script.failed().is_empty() {
        println!(
            "{GREEN}✔{RESET} {BOLD}All {} steps held.{RESET} The hosts have used servers that know \
             nothing of their private addresses:\n  every packet left with the router's own address, \
             and every answer found its host. The network\n  of this demonstration is gone. On a real \
             router: {BOLD}masq run --lan eth1 --wan ppp0{RESET}",
            script.held()
        );
        ExitCode::SUCCESS
    } else {
        println!(
            "{RED}✘ {BOLD}{} of {} steps failed:{RESET}",
            script.failed().len(),
            script.held() + script.failed().len()
        );
        script.failed().iter().for_each(|title| println!("  {title}"));
        ExitCode::FAILURE
    }
}
