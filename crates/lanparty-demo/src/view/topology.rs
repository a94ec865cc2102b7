//! The network: home, internet, venue. Wires that carry frames show them move.

use lanparty_lab::Party;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use super::{GOOD, LOUD, QUIET, TITLE, block};
use crate::scene::{Scene, Step};

/// Rows it takes.
pub(super) const HEIGHT: u16 = 8;
/// Rows of a box with three lines.
const BOX_HEIGHT: u16 = 5;
/// A frame is drawn every so many cells of a wire.
const SPACING: u128 = 9;
/// Time in which it moves by one cell.
const CELL_MS: u128 = 90;

/// A machine in the drawing.
struct Machine {
    title: &'static str,
    step: Step,
    x: u16,
    width: u16,
    lines: [String; 3],
}

/// Draws it from left to right: the player, the relay, the gateway, the switch and what is plugged into it.
pub(super) fn draw(scene: &Scene, area: Rect, buffer: &mut Buffer) {
    if area.height < HEIGHT || area.width < 100 {
        return;
    }
    places(area, buffer);
    let machines = machines(scene);
    for pair in machines.windows(2) {
        let (from, to) = (pair[0].x + pair[0].width, pair[1].x);
        wire(scene, Rect::new(area.x + from, area.y + 3, to - from, 1), scene.is_done(pair[0].step.max(pair[1].step)), buffer);
    }
    for machine in &machines {
        self::machine(scene, machine, area, buffer);
    }
    lan(scene, area, buffer);
    let delay = |rtt: Option<f64>| rtt.map(|ms| format!("{ms:.0} ms")).unwrap_or_default();
    Line::styled(delay(scene.facts.client_rtt_ms), QUIET).render(Rect::new(area.x + 22, area.y + 2, 8, 1), buffer);
    Line::styled(delay(scene.facts.gateway_rtt_ms), QUIET).render(Rect::new(area.x + 49, area.y + 2, 8, 1), buffer);
    tunnel(scene, Rect::new(area.x + 1, area.y + 6, area.width - 2, 1), buffer);
}

fn places(area: Rect, buffer: &mut Buffer) {
    for (x, text) in [(7, "at home"), (32, "on the internet"), (71, "at the venue")] {
        Line::styled(text, TITLE).render(Rect::new(area.x + x, area.y, 20, 1), buffer);
    }
}

fn machines(scene: &Scene) -> [Machine; 4] {
    let address = scene.leased_address().map_or_else(|| "no lease yet".into(), |address| address.to_string());
    let mac = scene.player_mac().unwrap_or_default().to_owned();
    let members = format!("{} in {}", scene.facts.peers.len(), scene.facts.rooms.first().map_or("no room", String::as_str));
    let machine = |title, step, x, width, lines| Machine { title, step, x, width, lines };
    [
        machine("player", Step::Client, 1, 20, ["lan0 (TAP)".into(), address, mac]),
        machine("relay", Step::Relay, 31, 17, [Party::RELAY.to_string(), members, mtu(scene)]),
        machine("gateway", Step::Gateway, 57, 14, [Party::GATEWAY.to_string(), "bridges lan".into(), "AF_PACKET".into()]),
        machine("switch", Step::Lan, 77, 9, ["br0".into(), format!("{} MACs", scene.mac_table.len()), String::new()]),
    ]
}

fn mtu(scene: &Scene) -> String {
    scene.facts.lan_mtu.map(|mtu| format!("LAN MTU {mtu}")).unwrap_or_default()
}

fn machine(scene: &Scene, machine: &Machine, area: Rect, buffer: &mut Buffer) {
    let place = Rect::new(area.x + machine.x, area.y + 1, machine.width, BOX_HEIGHT);
    let up = scene.is_done(machine.step);
    Clear.render(place, buffer);
    let frame = block(machine.title).border_style(if up { GOOD } else { QUIET });
    let inside = frame.inner(place);
    frame.render(place, buffer);
    for (row, text) in inside.rows().zip(&machine.lines) {
        let leased = machine.title == "player" && scene.leased_address().is_some();
        let style = if leased {
            LOUD
        } else if up {
            Style::new()
        } else {
            QUIET
        };
        Line::styled(format!(" {text}"), style).render(row, buffer);
    }
}

/// A wire; frames move on it both ways once both ends are up.
fn wire(scene: &Scene, place: Rect, carries: bool, buffer: &mut Buffer) {
    let moment = scene.elapsed.as_millis() / CELL_MS;
    let cell = |x: u16| {
        let (there, back) = ((u128::from(x) + SPACING - moment % SPACING) % SPACING, (u128::from(x) + moment) % SPACING);
        match (carries, there, back) {
            (true, 0, _) => Span::styled("▶", LOUD),
            (true, _, 4) => Span::styled("◀", GOOD),
            (true, ..) => Span::styled("─", GOOD),
            (false, ..) => Span::styled("╌", QUIET),
        }
    };
    Line::from((0..place.width).map(cell).collect::<Vec<_>>()).render(place, buffer);
}

/// What is plugged into the switch.
fn lan(scene: &Scene, area: Rect, buffer: &mut Buffer) {
    let up = scene.is_done(Step::Lan);
    let found = scene.game.is_some();
    let server = if found {
        " ★ game"
    } else if scene.is_done(Step::Server) {
        " game"
    } else {
        ""
    };
    let hosts = [
        ("pc1", Party::pc_address(1), ""),
        ("pc2", Party::pc_address(2), server),
        ("pc3", Party::pc_address(3), ""),
        ("dhcp", Party::DHCP, ""),
    ];
    for (row, (name, address, what)) in (1..).zip(hosts) {
        let branch = ["─┬─", " ├─", " ├─", " ╰─"][row as usize - 1];
        let style = if what.contains('★') {
            LOUD
        } else if up {
            Style::new()
        } else {
            QUIET
        };
        let line = Line::from(vec![
            Span::styled(branch, if up { GOOD } else { QUIET }),
            Span::styled(format!("{name:<4} .{}{what}", address.octets()[3]), style),
        ]);
        line.render(Rect::new(area.x + 86, area.y + 1 + row, area.width.saturating_sub(86), 1), buffer);
    }
}

/// What the player has of it.
fn tunnel(scene: &Scene, place: Rect, buffer: &mut Buffer) {
    let Some(address) = scene.leased_address() else { return };
    let game = scene.game.as_ref().map(|game| format!("; its LAN browser: \"{}\"", game.name)).unwrap_or_default();
    let text = format!("one Ethernet: {address} at home is next door to the PCs{game}");
    Line::styled(text, LOUD).render(place, buffer);
}
