//! n3n's grammar: its examples, and what is no rule.

use super::*;

#[test]
fn rules_of_n3n_are_read_as_n3n_reads_them() {
    for (text, meaning) in [
        (
            "192.168.1.5/32:[0,65535],192.168.0.0/24:[8081,65535],TCP-,UDP-,ICMP+",
            "192.168.1.5/32,192.168.0.0/24:[8081,65535],TCP-,UDP-,ICMP+",
        ),
        ("192.168.1.5:[0,65535],192.168.0.0/24:8000,ICMP+", "192.168.1.5/32,192.168.0.0/24:8000,ICMP+"),
        ("192.168.1.5,192.168.0.7,TCP-,UDP-,ICMP-", "192.168.1.5/32,192.168.0.7/32,TCP-,UDP-,ICMP-"),
        ("0.0.0.0/0:[0,65535],0.0.0.0/0:[0,65535],UDP+,TCP-", "0.0.0.0/0,0.0.0.0/0,TCP-,UDP+"),
    ] {
        let rule: FilterRule = text.parse().unwrap();
        assert_eq!(rule.to_string(), meaning);
        assert_eq!(rule.to_string().parse(), Ok(rule), "what is shown can be said again");
    }
}

#[test]
fn ipv6_has_its_length_or_brackets() {
    for (text, meaning) in [
        ("fd00::/8,fd00::1/128:[5,6],TCP+", "fd00::/8,fd00::1/128:[5,6],TCP+"),
        ("[fd00::1]:80,[fd00::]/64:[5,6],UDP-", "fd00::1/128:80,fd00::/64:[5,6],UDP-"),
        ("::/0,[::1],ICMP-", "::/0,::1/128,ICMP-"),
    ] {
        assert_eq!(text.parse::<FilterRule>().unwrap().to_string(), meaning);
    }
}

#[test]
fn what_is_no_rule_is_told_where_and_why() {
    for (text, at, words) in [
        ("", 1, "source address is missing"),
        ("10.0.0.0/33,10.0.0.1,TCP+", 1, "/33 is longer than an IPv4 address, which has 32 bits"),
        ("10.0.0.1,fd00::/129,TCP+", 10, "/129 is longer"),
        ("10.0.0.1/x,10.0.0.1,TCP+", 10, "`x` is no prefix length"),
        ("10.0.0.9/24,10.0.0.1,TCP+", 1, "write 10.0.0.0/24 for the net, or 10.0.0.9/32 for the host"),
        ("10.0.0.1:[9,5],10.0.0.1,TCP+", 10, "write [5,9]"),
        ("10.0.0.1:[9;5],10.0.0.1,TCP+", 11, "`9;5` is no port"),
        ("10.0.0.1:[9,65536],10.0.0.1,TCP+", 13, "a number from 0 to 65535"),
        ("10.0.0.1:[9,10,10.0.0.1,TCP+", 15, "ends with `]`"),
        ("10.0.0.1:+9,10.0.0.1,TCP+", 10, "`+9` is no port"),
        ("10.0.0.1", 9, "DST/LEN must follow"),
        ("10.0.0.1,10.0.0.2", 18, "TCP+, TCP-"),
        ("10.0.0.1,10.0.0.2,", 19, "none of TCP+"),
        ("10.0.0.1,10.0.0.2,TCP", 19, "`TCP` is none of"),
        ("10.0.0.1,10.0.0.2,tcp+", 19, "capitals: TCP+"),
        ("10.0.0.1,10.0.0.2,TCP+,TCP-", 24, "TCP is there twice"),
        ("10.0.0.1,10.0.0.2,TCP+,", 24, "none of"),
        ("10.0.0.1, 10.0.0.2,TCP+", 10, "` 10.0.0.2` is no address"),
        ("10.0.0.1,fd00::1,TCP+", 10, "[fd00::1]:27015"),
        ("fd00::1:80,[fd00::2],TCP+", 1, "in brackets"),
        ("[fd00::1,[fd00::2],TCP+", 1, "no address"),
        ("10.0.0.1,::/0,TCP+", 10, "one family"),
        ("10.0.0.1]80,10.0.0.1,TCP+", 1, "no address"),
        ("10.0.0.0/8]80,10.0.0.1,TCP+", 11, "`]` does not belong here"),
    ] {
        let error = text.parse::<FilterRule>().unwrap_err();
        assert!(error.problem.contains(words) && error.at == at, "`{text}`: {error}");
    }
}
