//! Routes through members at the client: set while their member is in the room, and removed when it is not.

use std::net::IpAddr;

use ipnet::IpNet;
use lanparty_core::OwnAddresses;
use lanparty_node::{ExitCode, Fault, Link, Request, RouteAsk};
use lanparty_proto::MemberInfo;
use serde_json::json;
use tracing::{info, warn};

use super::Client;
use crate::host::Host;
use crate::routing::{NETWORKS_MAX, Route, RouteFlag, RouteFrom, RouteState, Surroundings, judge, member_of, parse_member, parse_route};

/// What a client routes.
#[derive(Default)]
pub(super) struct Routing {
    /// Networks behind this machine.
    behind: Vec<IpNet>,
    pub(super) routes: Vec<Route>,
}

impl<H: Host> Client<H> {
    /// The same client, which routes for the networks of `behind`, and reaches others through members.
    ///
    /// # Errors
    /// When they contradict each other, or are too many.
    pub fn routing(mut self, behind: &[RouteFrom], routes: &[RouteFlag]) -> Result<Self, Fault> {
        let behind: Vec<IpNet> = behind.iter().flat_map(|one| one.0.clone()).collect();
        let wrong = |cause: String| Fault::new(ExitCode::Configuration, cause, "correct --route-from and --route");
        if behind.len() > NETWORKS_MAX || routes.len() > NETWORKS_MAX {
            return Err(wrong(format!("a client has {NETWORKS_MAX} networks behind it at most, and as many routes")));
        }
        self.session.driver.speak_for(OwnAddresses::routing_for(behind.clone()));
        if !behind.is_empty() {
            let nets: Vec<_> = behind.iter().map(ToString::to_string).collect();
            info!("routing for {}: packets of these networks pass this machine's interface", nets.join(", "));
            self.host.check_forwarding(&behind);
        }
        self.routing.behind = behind;
        for RouteFlag { network, via } in routes {
            self.want_route(*network, via).map_err(wrong)?;
        }
        Ok(self)
    }

    fn want_route(&mut self, network: IpNet, via: &str) -> Result<(), String> {
        if self.routing.routes.iter().any(|route| route.network == network) {
            return Err(format!("there is a route to {network} already"));
        }
        if self.routing.routes.len() >= NETWORKS_MAX {
            return Err(format!("there are {NETWORKS_MAX} routes already, as many as a client has"));
        }
        judge(network, &self.surroundings())?;
        let state = RouteState::Waiting { because: "this machine is not in the room".to_owned() };
        self.routing.routes.push(Route { network, via: via.to_owned(), state });
        Ok(())
    }

    fn surroundings(&self) -> Surroundings {
        let relay = self.session.driver.link().and_then(Link::remote_address).map(|relay| relay.ip());
        let relay = relay.filter(|relay: &IpAddr| !relay.is_loopback()).map(|relay| (relay, lanparty_node::may_bind_sockets()));
        let of_room = self.addressing.held.iter().map(|held| held.net).collect();
        Surroundings { behind: self.routing.behind.clone(), of_room, relay }
    }

    /// Sets and removes what the room's members make possible now.
    pub(super) async fn follow_routes(&mut self) {
        if self.routing.routes.is_empty() {
            return;
        }
        let around = self.surroundings();
        let mut routes = std::mem::take(&mut self.routing.routes);
        for route in &mut routes {
            let roster = self.session.roster();
            let found = roster.ok_or_else(|| "this machine is not in the room".to_owned());
            let found = found.and_then(|roster| member_of(&route.via, roster.members(), roster.own()).cloned());
            let found = found.and_then(|member| judge(route.network, &around).map(|()| member));
            self.follow_route(route, found).await;
        }
        self.routing.routes = routes;
    }

    async fn follow_route(&mut self, route: &mut Route, found: Result<MemberInfo, String>) {
        if let RouteState::Set { peer, mac } = &route.state {
            if found.as_ref().is_ok_and(|member| member.id == *peer && member.mac == *mac) {
                return;
            }
            if let Err(e) = self.host.remove_route(route.network, *peer).await {
                warn!("the route to {} stays: {e}", route.network);
            }
        }
        let (network, via) = (route.network, &route.via);
        let state = match found {
            Ok(member) => match self.host.add_route(network, member.id, member.mac).await {
                Ok(()) => RouteState::Set { peer: member.id, mac: member.mac },
                Err(e) => RouteState::Waiting { because: format!("the system refuses it: {e}") },
            },
            Err(because) => RouteState::Waiting { because },
        };
        if state != route.state {
            match &state {
                RouteState::Set { peer, mac } => info!("route to {network} is set, through peer {peer} with MAC {mac}"),
                RouteState::Waiting { because } => warn!("route to {network} via {via} is not set: {because}"),
            }
            route.state = state;
        }
    }

    /// Another route, now.
    pub(super) async fn add_route(&mut self, request: Request, ask: &RouteAsk) {
        let via = ask.via.as_deref().unwrap_or_default();
        let (network, via) = match parse_route(&ask.network).and_then(|network| Ok((network, parse_member(via)?))) {
            Ok(wanted) => wanted,
            Err(why) => return request.refuse_with("unusable-route", &why),
        };
        // Who asks at this moment hears what is wrong with it.
        let is_there = self.session.roster().map_or(Ok(()), |roster| member_of(&via, roster.members(), roster.own()).map(drop));
        match is_there.and_then(|()| self.want_route(network, &via)) {
            Ok(()) => {
                self.follow_routes().await;
                let route = self.routing.routes.iter().find(|route| route.network == network).cloned();
                request.send(json!(route));
            }
            Err(why) => request.refuse_with("route-refused", &why),
        }
    }

    /// One less.
    pub(super) async fn remove_route(&mut self, request: Request, ask: &RouteAsk) {
        let network = match parse_route(&ask.network) {
            Ok(network) => network,
            Err(why) => return request.refuse_with("unusable-route", &why),
        };
        match self.routing.routes.iter().position(|route| route.network == network) {
            Some(at) => {
                let mut route = self.routing.routes.remove(at);
                self.follow_route(&mut route, Err("it was removed".to_owned())).await;
                request.send(json!(route));
            }
            None => request.refuse_with("no-such-route", &format!("there is no route to {network}")),
        }
    }

    /// All of them go.
    pub(super) async fn remove_routes(&mut self) {
        for route in std::mem::take(&mut self.routing.routes) {
            if let RouteState::Set { peer, .. } = route.state
                && let Err(e) = self.host.remove_route(route.network, peer).await
            {
                warn!("the route to {} stays until the interface goes: {e}", route.network);
            }
        }
    }
}
