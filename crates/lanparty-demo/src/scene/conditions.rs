//! The guide's pass conditions, judged by what was seen.

use lanparty_lab::Party;

use super::Scene;

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    /// What the guide asks for.
    pub(crate) text: &'static str,
    /// Does it hold?
    pub(crate) holds: bool,
    /// What was seen.
    pub(crate) evidence: String,
}

/// All six, in the guide's order.
pub(super) fn judge(scene: &Scene) -> Vec<Condition> {
    vec![
        condition("relay shows one gateway and one client in the same room", one_of_each(scene)),
        condition("client reports gateway connected", gateway_connected(scene)),
        condition("player's interface has a real LAN address by DHCP", lease(scene)),
        condition("a LAN host answers the player's ping", ping(scene)),
        condition("switch has the player's MAC on the gateway's port", learnt(scene)),
        condition("a LAN game finds its server through the tunnel", game(scene)),
    ]
}

/// What was seen: good enough, or not.
type Seen = Result<String, String>;

fn condition(text: &'static str, seen: Seen) -> Condition {
    let holds = seen.is_ok();
    let (Ok(evidence) | Err(evidence)) = seen;
    Condition { text, holds, evidence }
}

fn one_of_each(scene: &Scene) -> Seen {
    let count = |role: &str| scene.facts.peers.iter().filter(|peer| peer.role == role).count();
    let (gateways, clients, rooms) = (count("gateway"), count("client"), scene.facts.rooms.len());
    let seen = format!("{gateways} gateway, {clients} client in {rooms} room{}", if rooms == 1 { "" } else { "s" });
    if (gateways, clients, rooms) == (1, 1, 1) { Ok(seen) } else { Err(seen) }
}

fn gateway_connected(scene: &Scene) -> Seen {
    if scene.facts.gateway_connected { Ok("yes".into()) } else { Err("no".into()) }
}

fn lease(scene: &Scene) -> Seen {
    let have = scene.facts.client_addresses.first();
    scene.leased_address().map(|address| format!("{address} from {}", Party::DHCP)).ok_or_else(|| match have {
        Some(address) => format!("{address}, which the DHCP server did not give"),
        None => "no address".into(),
    })
}

fn ping(scene: &Scene) -> Seen {
    let (sent, answered) = (scene.pings_sent, scene.pings_answered);
    match scene.ping_median() {
        Some(median) => Ok(format!("{answered} of {sent}, median {:.1} ms", median.as_secs_f64() * 1e3)),
        None => Err(format!("{answered} of {sent}")),
    }
}

fn learnt(scene: &Scene) -> Seen {
    match scene.player_port() {
        Some(port) if port == Party::gateway_port() => Ok(format!("{} on {port}", scene.player_mac().unwrap_or_default())),
        Some(port) => Err(format!("on port {port}")),
        None => Err("not learnt".into()),
    }
}

fn game(scene: &Scene) -> Seen {
    scene.game.as_ref().map(|game| format!("\"{}\" at {}", game.name, game.address)).ok_or_else(|| "no server seen".into())
}

#[cfg(test)]
mod tests {
    use super::super::tests::good_show;
    use super::*;

    fn holds(scene: &Scene) -> Vec<bool> {
        judge(scene).iter().map(|condition| condition.holds).collect()
    }

    #[test]
    fn all_six_hold_in_a_good_show_and_none_before_it() {
        assert_eq!(holds(&good_show()), [true; 6]);
        assert_eq!(holds(&Scene::new()), [false; 6]);
    }

    #[test]
    fn a_mac_on_another_port_is_not_on_the_gateways() {
        let mut scene = good_show();
        scene.mac_table[0].port = "pc3".into();
        assert_eq!(judge(&scene)[4].evidence, "on port pc3");
        assert_eq!(holds(&scene), [true, true, true, true, false, true]);
    }

    #[test]
    fn two_rooms_are_not_the_same_room() {
        let mut scene = good_show();
        scene.facts.rooms.push("OTHER".into());
        assert!(!judge(&scene)[0].holds);
    }
}
