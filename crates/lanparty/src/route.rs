//! `lanparty route`: which networks the client that runs here reaches through other members.

use std::path::Path;

use clap::{Args, Subcommand};
use lanparty_node::{ExitCode, Fault, call, print};
use serde_json::{Value, json};

use crate::program::{ProgramFlag, unanswered};
use crate::rpc::refused_words;

#[derive(Subcommand)]
enum Action {
    /// Reach a network through a member, until the client ends: `lanparty route add 192.168.50.0/24 via 2`
    #[command(override_usage = "lanparty route add <NETWORK> via <MEMBER>")]
    Add {
        /// The network; `default` is all of IPv4
        network: String,
        /// The word `via`
        #[arg(value_name = "via", value_parser = ["via"], hide = true)]
        via: String,
        /// The member: its MAC address, or its peer number as `lanparty status` shows it
        member: String,
    },
    /// Reach a network so no more
    Remove {
        /// The network
        network: String,
    },
    /// List the networks that are reached through members
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
#[command(after_help = "\
The member must be started with --route-from NETWORK, and forward packets. docs/routing.md tells all of it.

Exit codes: 0 ok, 1 no client runs here, 2 what was typed is no network or member, 3 it belongs to another user, 4 the client refuses, or cannot set the route now.")]
pub(crate) struct RouteArgs {
    #[command(subcommand)]
    action: Action,

    #[command(flatten)]
    program: ProgramFlag,
}

pub(crate) async fn run(args: RouteArgs) -> Result<(), Fault> {
    let socket = args.program.socket(&["client"])?;
    let line = match args.action {
        Action::Add { network, member, .. } => {
            let route = ask(&socket, "add_route", &json!({ "network": network, "via": member })).await?;
            if route["state"] != "set" {
                let cause = format!("the route is kept, and not set: {}", route["because"].as_str().unwrap_or("-"));
                return Err(Fault::new(ExitCode::Refused, cause, "it is set when that is over; `lanparty route list` shows it"));
            }
            in_words(&route)
        }
        Action::Remove { network } => {
            let route = ask(&socket, "remove_route", &json!({ "network": network })).await?;
            format!("{} is reached so no more\n", text(&route["network"]))
        }
        Action::List { json } => {
            let routes = ask(&socket, "routes", &json!({})).await?;
            match routes.as_array() {
                _ if json => format!("{routes:#}\n"),
                Some(all) if !all.is_empty() => all.iter().map(in_words).collect(),
                _ => "no network is reached through a member\n".to_owned(),
            }
        }
    };
    print(&line)
}

async fn ask(socket: &Path, method: &str, params: &Value) -> Result<Value, Fault> {
    let mut response = call(socket, method, Some(params)).await.map_err(|e| unanswered(socket, &e))?;
    match response.get("error") {
        Some(error) => Err(refused_words(error)),
        None => Ok(response["result"].take()),
    }
}

/// One route, as `lanparty status` shows it, too.
pub(crate) fn in_words(route: &Value) -> String {
    let (network, via) = (text(&route["network"]), text(&route["via"]));
    match route["because"].as_str() {
        Some(because) => format!("{network} via {via}: not set, {because}\n"),
        None => format!("{network} via peer {} with MAC {}: set\n", route["peer"], text(&route["mac"])),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn via_is_a_word_and_nothing_that_one_fills_in() {
        let mut command = RouteArgs::augment_args(clap::Command::new("route"));
        let help = command.find_subcommand_mut("add").unwrap().render_help().to_string();
        assert!(help.contains("<NETWORK> via <MEMBER>") && !help.contains("<VIA>"), "{help}");
        let parse = |word: &str| command.clone().try_get_matches_from(["route", "add", "10.0.0.0/8", word, "2"]);
        assert!(parse("via").is_ok() && parse("to").is_err());
    }
}
