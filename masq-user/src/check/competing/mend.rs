//! Which commands change the rules of others, in the words of the program that manages them: what is
//! changed behind its back is lost when it sets its rules up again.

use super::super::{
    Finding,
    ruleset::{Chain, Rule, Ruleset, Tool},
};

/// Whether the names of a chain mean nothing else to a shell, so that a command may hold them.
fn can_be_named(chain: &Chain) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    [&chain.family, &chain.table, &chain.name].iter().all(|name| name.chars().all(is_plain))
}

/// How to have a base chain accept what goes from a LAN to a WAN, and the answers.
pub(super) fn accept(
    ruleset: &Ruleset,
    chain: &Chain,
    lan: &str,
    wan: &str,
    finding: Finding,
) -> Finding {
    let (family, table, name) = (&chain.family, &chain.table, &chain.name);
    if !can_be_named(chain) {
        return finding;
    }
    if table == "firewalld" {
        // Between zones, nothing is forwarded without a policy.
        let zone = |interface: &str| format!("$(firewall-cmd --get-zone-of-interface={interface})");
        return finding
            .command("firewall-cmd --permanent --new-policy=masq")
            .command(format!(
                "firewall-cmd --permanent --policy=masq --add-ingress-zone={} --add-egress-zone={} \
                 --set-target=ACCEPT",
                zone(lan),
                zone(wan)
            ))
            .command("firewall-cmd --reload");
    }
    if ruleset.beside(chain, "ufw-before-forward").is_some() {
        return finding.command(format!("ufw route allow in on {lan} out on {wan}"));
    }
    if chain.is_of_iptables() {
        let program = chain.iptables();
        // Docker puts its own rules first, and leaves this chain to the user.
        let docker = ruleset.beside(chain, "DOCKER-USER").is_some();
        let into = if docker { "DOCKER-USER" } else { name };
        let table = if table == "filter" { String::new() } else { format!(" -t {table}") };
        return finding
            .command(format!("{program}{table} -I {into} -i {lan} -o {wan} -j ACCEPT"))
            .command(format!(
                "{program}{table} -I {into} -i {wan} -o {lan} -m conntrack --ctstate \
                 RELATED,ESTABLISHED -j ACCEPT"
            ));
    }
    finding
        .command(format!(
            "nft 'insert rule {family} {table} {name} iifname \"{lan}\" oifname \"{wan}\" accept'"
        ))
        .command(format!(
            "nft 'insert rule {family} {table} {name} iifname \"{wan}\" oifname \"{lan}\" ct state \
             established,related accept'"
        ))
}

/// How to remove a rule that translates what leaves by a WAN.
pub(super) fn remove(chain: &Chain, rule: &Rule, wan: &str, finding: Finding) -> Finding {
    let (family, table, name) = (&chain.family, &chain.table, &chain.name);
    if !can_be_named(chain) {
        return finding;
    }
    if table == "firewalld" {
        return finding
            .command(format!(
                "firewall-cmd --permanent --zone=$(firewall-cmd --get-zone-of-interface={wan}) \
                 --remove-masquerade"
            ))
            .command("firewall-cmd --reload");
    }
    match (chain.tool, rule.handle, &rule.words) {
        (Tool::Nft, Some(handle), _) => {
            finding.command(format!("nft delete rule {family} {table} {name} handle {handle}"))
        }
        (_, _, Some(words)) => {
            finding.command(format!("{} -t {table} -D {words}", chain.iptables()))
        }
        _ => finding,
    }
}
