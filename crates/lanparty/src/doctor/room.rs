//! What the client or gateway that runs on this machine knows of its room: asks one after the other, until one is in the
//! room that is wanted. One that has stopped holds nobody up.

use std::io;
use std::path::Path;

use lanparty_doctor::{NotExamined, RoomFacts};
use lanparty_node::{Ask, Conversation, member_sockets, program_at};
use lanparty_proto::RoomCode;

/// What came of it.
#[derive(Default)]
pub(super) struct Look {
    /// The room, when a program is in it.
    pub(super) facts: Option<RoomFacts>,
    /// Programs that did not answer, in words.
    pub(super) silent: Vec<String>,
    /// Rooms that others are in.
    elsewhere: Vec<String>,
    /// Programs that run and are in no room now.
    outside: usize,
}

/// Looks into `room`, or into the first that there is.
pub(super) async fn look_into(room: Option<&RoomCode>) -> io::Result<Look> {
    let mut look = Look::default();
    for socket in member_sockets()? {
        let facts = match ask(&socket).await {
            Ok(Some(facts)) => facts,
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                look.silent.push(program_at(&socket));
                continue;
            }
            // A socket that nobody listens on is a dead program's.
            Ok(None) | Err(_) => continue,
        };
        match (&facts.room, room) {
            (None, _) => look.outside += 1,
            (Some(found), Some(wanted)) if *found != wanted.to_string() => look.elsewhere.push(found.clone()),
            (Some(_), _) => {
                look.facts = Some(facts);
                break;
            }
        }
    }
    Ok(look)
}

async fn ask(socket: &Path) -> io::Result<Option<RoomFacts>> {
    let answer = Conversation::open(socket, &Ask::ExamineRoom).await?.next().await?;
    Ok(answer.and_then(|answer| serde_json::from_value(answer).ok()))
}

impl Look {
    /// Why the room could not be looked into.
    pub(super) fn missing(&self, room: Option<&RoomCode>) -> NotExamined {
        let wanted = room.map_or_else(|| "a room".to_owned(), |room| format!("room {room}"));
        let cause = match self.silent.as_slice() {
            [] => format!("no lanparty client or gateway on this machine is in {wanted}"),
            silent => format!("{} did not answer, and no other lanparty client or gateway here is in {wanted}", silent.join(", ")),
        };
        let advice = if !self.elsewhere.is_empty() {
            format!("those that run here are in {}", self.elsewhere.join(", "))
        } else if self.outside > 0 {
            "one runs here and has not joined; its log says why".to_owned()
        } else if self.silent.is_empty() {
            "start one first, and ask as the user who started it, often root".to_owned()
        } else {
            "look at its log, or start it again".to_owned()
        };
        NotExamined { what: "room".to_owned(), cause, advice }
    }
}

/// The same where it cannot even be seen which programs run.
pub(super) fn unreadable(e: &io::Error) -> NotExamined {
    NotExamined {
        what: "room".to_owned(),
        cause: format!("cannot look for running programs: {e}"),
        advice: "ask as the user who started the program, often root".to_owned(),
    }
}
