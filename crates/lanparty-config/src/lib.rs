//! Where options come from: the command line before the environment before a file.
//!
//! A program's command line is the one definition of its options. Each has its name in the environment (`LANPARTY_TAP_NAME`) and its
//! key in the file (`tap-name`), and what is said there is read by the same rules as on the command line, so that a file can say
//! nothing that a flag could not.

mod arguments;
mod default_file;
mod file;
pub mod n3n;
mod options;
mod parse;

pub use arguments::check;
pub use default_file::default_file;
pub use file::{ConfigFile, Role};
pub use options::{OptionKind, options};
pub use parse::{matches, parse, parse_tool, tool};
