//! Rules in a file: the same as `--filter-rule` has, in words.
//!
//! Everything that is wrong is told at once, each with its line; a key that is none, with the one that was meant.

use std::net::IpAddr;

use lanparty_core::{FilterRule, Net, PortRange, Protocol, Verdict};
use toml::de::{DeTable, DeValue};

use crate::toml_file::{TomlProblem, TomlReader, TomlValue, unknown_word};

const ROOT_KEYS: [&str; 2] = ["default", "rule"];
const RULE_KEYS: [&str; 7] = ["name", "from", "from-ports", "to", "to-ports", "accept", "drop"];
const PROTOCOLS: [&str; 5] = ["tcp", "udp", "icmp", "other", "all"];
const VERDICTS: [&str; 2] = ["accept", "drop"];

/// A file of rules.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FilterFile {
    pub(super) default: Option<Verdict>,
    pub(super) rules: Vec<FilterRule>,
}

impl FilterFile {
    pub(super) fn read(text: &str) -> Result<Self, Vec<TomlProblem>> {
        let mut reader = Reader(TomlReader::new(text));
        let root = reader.0.parse(text);
        let file = root.map_or_else(Self::default, |root| reader.root(root.get_ref()));
        reader.0.end(file)
    }
}

struct Reader(TomlReader);

impl Reader {
    fn root(&mut self, root: &DeTable<'_>) -> FilterFile {
        let mut file = FilterFile::default();
        for (key, value) in root {
            match &**key.get_ref() {
                "default" => file.default = self.0.word(value, &VERDICTS, "verdict").map(verdict),
                "rule" => file.rules = self.rules(value),
                other => self.0.problem(key.span(), unknown_word("key", other, &ROOT_KEYS)),
            }
        }
        file
    }

    fn rules(&mut self, value: &TomlValue<'_>) -> Vec<FilterRule> {
        let Some(all) = value.get_ref().as_array() else {
            self.0.problem(value.span(), "rules are tables of their own: write [[rule]] above each".to_owned());
            return vec![];
        };
        all.iter().filter_map(|rule| self.rule(rule)).collect()
    }

    fn rule(&mut self, value: &TomlValue<'_>) -> Option<FilterRule> {
        let Some(table) = value.get_ref().as_table() else {
            self.0.problem(value.span(), "a rule is a table: write [[rule]] above it".to_owned());
            return None;
        };
        let before = self.0.problems();
        let (all, verdicts) = (PortRange::ALL, [None; 4]);
        let mut rule = FilterRule { name: None, src: None, src_ports: all, dst: None, dst_ports: all, verdicts };
        for (key, value) in table {
            match &**key.get_ref() {
                "name" => rule.name = self.0.string(value).map(str::to_owned),
                "from" => rule.src = self.net(value),
                "to" => rule.dst = self.net(value),
                "from-ports" => rule.src_ports = self.ports(value).unwrap_or(all),
                "to-ports" => rule.dst_ports = self.ports(value).unwrap_or(all),
                "accept" => self.protocols(value, Verdict::Accept, &mut rule),
                "drop" => self.protocols(value, Verdict::Drop, &mut rule),
                other => self.0.problem(key.span(), unknown_word("key", other, &RULE_KEYS)),
            }
        }
        if self.0.problems() > before {
            return None;
        }
        if rule.verdicts.iter().all(Option::is_none) {
            self.0.problem(value.span(), "this rule does nothing: say accept or drop, for example accept = \"udp\"".to_owned());
        }
        if let (Some(src), Some(dst)) = (rule.src, rule.dst)
            && src.is_ipv4() != dst.is_ipv4()
        {
            self.0.problem(value.span(), "from and to are not of one family: both IPv4, or both IPv6".to_owned());
        }
        Some(rule)
    }

    fn net(&mut self, value: &TomlValue<'_>) -> Option<Net> {
        let text = self.0.string(value)?;
        if text == "any" { None } else { self.0.told(value.span(), read_net(text)) }
    }

    fn ports(&mut self, value: &TomlValue<'_>) -> Option<PortRange> {
        let read = match value.get_ref() {
            DeValue::Integer(number) => {
                let port = u16::from_str_radix(number.as_str(), number.radix());
                port.map(|port| PortRange { first: port, last: port }).map_err(|_| format!("{number} is no port: they end at 65535"))
            }
            DeValue::String(text) => read_ports(text),
            other => Err(format!("ports are a number or \"FIRST-LAST\", not {}", other.type_str())),
        };
        self.0.told(value.span(), read)
    }

    fn protocols(&mut self, value: &TomlValue<'_>, verdict: Verdict, rule: &mut FilterRule) {
        let names: Vec<_> = match value.get_ref() {
            DeValue::Array(names) => names.iter().collect(),
            _ => vec![value],
        };
        for name in names {
            let Some(word) = self.0.word(name, &PROTOCOLS, "protocol") else { continue };
            for (slot, protocol) in rule.verdicts.iter_mut().zip(Protocol::ALL) {
                let is_meant = word == "all" || word == protocol.as_str();
                if is_meant && slot.replace(verdict).is_some() {
                    self.0.problem(name.span(), format!("{} is in this rule twice", protocol.as_str()));
                }
            }
        }
    }
}

fn verdict(word: &str) -> Verdict {
    if word == Verdict::Drop.as_str() { Verdict::Drop } else { Verdict::Accept }
}

fn read_net(text: &str) -> Result<Net, String> {
    let (address, len) = text.split_once('/').map_or((text, None), |(address, len)| (address, Some(len)));
    let address: IpAddr = address.parse().map_err(|_| format!("`{text}` is no net: write 192.168.8.0/24, fd00::/64 or any"))?;
    let host_len = if address.is_ipv4() { 32 } else { 128 };
    let len = len.map_or(Ok(host_len), |len| len.parse().map_err(|_| format!("`{len}` is no prefix length")))?;
    Net::new(address, len)
}

fn read_ports(text: &str) -> Result<PortRange, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| format!("`{text}` is no port: write 27015 or \"27015-27030\""));
    let (first, last) = (port(first)?, port(last)?);
    PortRange::new(first, last).map_err(|_| format!("the port range {first}-{last} is the wrong way round: write \"{last}-{first}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAME: &str = r#"
default = "drop"

[[rule]]
name = "the game"
to = "192.168.8.0/24"
to-ports = "27015-27030"
accept = "udp"

[[rule]]
from = "fd00::1"
from-ports = 53
to = "any"
accept = ["udp", "icmp"]
drop = "tcp"
"#;

    fn problems(text: &str) -> Vec<String> {
        FilterFile::read(text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rules_are_read_in_their_order() {
        let file = FilterFile::read(GAME).unwrap();
        let rules: Vec<_> = file.rules.iter().map(ToString::to_string).collect();
        assert_eq!(file.default, Some(Verdict::Drop));
        assert_eq!(rules, ["any,192.168.8.0/24:[27015,27030],UDP+", "fd00::1/128:53,any,TCP-,UDP+,ICMP+"]);
        assert_eq!(file.rules[0].name.as_deref(), Some("the game"));
        assert_eq!(FilterFile::read("").unwrap(), FilterFile::default());
    }

    #[test]
    fn a_rule_of_a_file_is_the_one_that_the_command_line_has() {
        let text = "[[rule]]\nfrom = \"10.0.0.0/8\"\nfrom-ports = \"1-2\"\nto = \"10.0.0.1\"\nto-ports = 0x50\naccept = [\"tcp\"]\ndrop = [\"icmp\"]";
        let rule: FilterRule = "10.0.0.0/8:[1,2],10.0.0.1:80,TCP+,ICMP-".parse().unwrap();
        assert_eq!(FilterFile::read(text).unwrap().rules, [rule]);
    }

    #[test]
    fn every_key_misspelled_is_told_with_its_line_and_the_one_that_was_meant() {
        let text = "defalt = \"drop\"\n[[rule]]\nnmae = \"x\"\nform = \"any\"\nfrom_ports = 1\ntoo = \"any\"\nto_port = 2\nacept = \"udp\"\nDrop = \"tcp\"\n";
        let meant = ["default", "name", "from", "from-ports", "to", "to-ports", "accept", "drop"];
        let told = problems(text);
        assert_eq!(told.len(), meant.len(), "{told:?}");
        for ((told, meant), line) in told.iter().zip(meant).zip([1, 3, 4, 5, 6, 7, 8, 9]) {
            assert!(told.starts_with(&format!("{line}: ")) && told.contains(&format!("did you mean `{meant}`")), "{told}");
        }
        assert_eq!(problems("colour = 1"), ["1: unknown key `colour`: it is one of default, rule"]);
    }

    #[test]
    fn ten_thousand_rules_are_read_and_as_many_mistakes_told() {
        let file = |key: &str| {
            (0..10_000).map(|n| format!("[[rule]]\n{key} = \"10.{}.{}.0/24\"\naccept = \"udp\"\n", n / 256, n % 256)).collect::<String>()
        };
        assert_eq!(FilterFile::read(&file("to")).unwrap().rules.len(), 10_000);
        let told = problems(&file("tto"));
        assert_eq!((told.len(), told[9_999].as_str()), (10_000, "29999: unknown key `tto`, did you mean `to`?"));
    }

    #[test]
    fn bad_values_are_told_with_their_line() {
        for (text, line, words) in [
            ("[[rule]]\nfrom = \"10.0.0.0/33\"\naccept = \"udp\"", 2, "/33 is longer than an IPv4 address"),
            ("[[rule]]\nfrom = \"10.0.0.9/8\"\naccept = \"udp\"", 2, "write 10.0.0.0/8"),
            ("[[rule]]\nto = \"example\"\naccept = \"udp\"", 2, "`example` is no net"),
            ("[[rule]]\nto-ports = \"9-5\"\naccept = \"udp\"", 2, "write \"5-9\""),
            ("[[rule]]\nto-ports = 65536\naccept = \"udp\"", 2, "65536 is no port"),
            ("[[rule]]\nto-ports = [1, 2]\naccept = \"udp\"", 2, "not array"),
            ("[[rule]]\naccept = \"udb\"", 2, "did you mean `udp`"),
            ("[[rule]]\naccept = [\"all\"]\ndrop = [\"udp\"]", 3, "udp is in this rule twice"),
            ("[[rule]]\nname = \"x\"", 1, "does nothing"),
            ("[[rule]]\nname = 5\naccept = \"udp\"", 2, "a string stands here"),
            ("[[rule]]\nfrom = \"10.0.0.1\"\nto = \"::1\"\naccept = \"udp\"", 1, "one family"),
            ("[rule]\naccept = \"udp\"", 1, "write [[rule]]"),
            ("default = \"reject\"", 1, "accept, drop"),
            ("default = \"drop\"\n[[rule]\n", 2, ""),
        ] {
            let told = problems(text);
            assert!(told.len() == 1 && told[0].starts_with(&format!("{line}: ")) && told[0].contains(words), "{text}: {told:?}");
        }
    }
}
