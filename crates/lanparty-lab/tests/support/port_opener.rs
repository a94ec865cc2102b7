//! A home router that opens its ports when it is asked to: Debian's miniupnpd on a household's router.

use std::fs;

use lanparty_lab::{Household, Lab, Proc, Program};

/// The public addresses of such routers: miniupnpd opens nothing at an address that it knows to be nobody's or private, as the lab's are.
const PUBLIC: &str = "1.2.3";

/// Everybody of the internet reaches these addresses.
pub(crate) fn public_address(number: u8) -> String {
    format!("{PUBLIC}.{number}")
}

/// What the router speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speaks {
    /// PCP and NAT-PMP.
    Pcp,
    /// UPnP only.
    Upnp,
}

/// Starts it on the router of household `number`, whose NAT must let in what such a router opens.
pub(crate) fn open_ports(lab: &Lab, household: &Household, number: u8, speaks: Speaks) -> Proc {
    let router = &household.router;
    router.ip(&format!("addr add {}/24 dev out", public_address(number))).unwrap();
    router.run(&["nft", RULES]).unwrap();
    let config = lab.dir().join(format!("miniupnpd-{number}.conf"));
    let public = public_address(number);
    let yes = |is: Speaks| if is == speaks { "yes" } else { "no" };
    let (pcp, upnp) = (yes(Speaks::Pcp), yes(Speaks::Upnp));
    let text = format!(
        "ext_ifname=out\next_ip={public}\nlistening_ip=br0\nenable_natpmp={pcp}\nenable_upnp={upnp}\nsecure_mode=yes\n\
         upnp_table_name=opened\nupnp_nat_table_name=opened\nupnp_forward_chain=may_pass\nupnp_nat_chain=leads_in\n\
         upnp_nat_postrouting_chain=leads_out\nallow 1024-65535 10.97.0.0/16 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
    );
    fs::write(&config, text).unwrap();
    let pid = lab.dir().join(format!("miniupnpd-{number}.pid"));
    let daemon = Program::new("miniupnpd").named(&format!("miniupnpd-{number}")).arg("-d").arg("-f").arg(config).arg("-P").arg(pid);
    router.spawn(daemon).unwrap()
}

/// The chains that it fills.
const RULES: &str = "table inet opened {
    chain may_pass {}
    chain leads_in {}
    chain leads_out {}
    chain forward { type filter hook forward priority -5; jump may_pass; }
    chain prerouting { type nat hook prerouting priority dstnat - 5; iifname out jump leads_in; }
    chain postrouting { type nat hook postrouting priority srcnat - 5; jump leads_out; }
}";

/// The ports that it has opened now, as the router's rules have them.
pub(crate) fn opened(household: &Household) -> String {
    household.router.run(&["nft", "list chain inet opened leads_in"]).unwrap().stdout
}
