//! Programs of your own: one process that is producer, worker or aggregator, as its first argument says, and knows them all.
//!
//! ```no_run
//! use rabbit_reduce_core::program::Programs;
//!
//! fn main() -> std::process::ExitCode {
//!     // .with("my-program", |settings| Ok(Reducing(MyProgram)))
//!     rabbit_reduce_producer::roles::main(Programs::built_in())
//! }
//! ```
//!
//! What would surprise: a process that was started under the name of a role is that role; so a worker starts itself again.

use rabbit_reduce_core::program::Programs;
use rabbit_reduce_runtime::process::complain;
use rabbit_reduce_runtime::process::exit::Exit;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Producer,
    Worker,
    Aggregator,
}

impl Role {
    fn of(name: &OsStr) -> Option<Self> {
        match name.to_str()? {
            "producer" => Some(Self::Producer),
            "worker" => Some(Self::Worker),
            "aggregator" => Some(Self::Aggregator),
            _ => None,
        }
    }
}

/// The role that the command line asks for, with these programs, to its exit code.
#[must_use]
pub fn main(programs: Programs) -> ExitCode {
    let Some((role, line)) = role_of(std::env::args_os().collect()) else {
        complain("say first what to be: producer, worker or aggregator; each of them takes --help");
        return Exit::Usage.into();
    };
    match role {
        Role::Producer => crate::main_with(programs, line),
        Role::Worker => rabbit_reduce_worker::cli::main(programs, line),
        Role::Aggregator => rabbit_reduce_aggregator::cli::main(programs, line),
    }
}

/// A role and its own command line.
fn role_of(line: Vec<OsString>) -> Option<(Role, Vec<OsString>)> {
    let name = Path::new(line.first()?).file_name()?.to_owned();
    if let Some(role) = Role::of(&name) {
        return Some((role, line));
    }
    let role = Role::of(line.get(1)?)?;
    // As usage lines shall show it.
    let shown = [name.as_os_str(), line[1].as_os_str()].join(OsStr::new(" "));
    Some((role, std::iter::once(shown).chain(line.into_iter().skip(2)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(line: &[&str]) -> Option<(Role, Vec<String>)> {
        let (role, line) = role_of(line.iter().map(OsString::from).collect())?;
        Some((role, line.into_iter().map(|word| word.into_string().unwrap()).collect()))
    }

    #[test]
    fn the_role_is_the_first_argument_or_the_name() {
        let mine = role(&["/opt/bin/mine", "producer", "run", "a"]);
        assert_eq!(mine, Some((Role::Producer, ["mine producer", "run", "a"].map(str::to_owned).to_vec())));
        assert_eq!(role(&["worker", "aggregator"]).unwrap().0, Role::Worker);
        assert_eq!(role(&["mine", "run"]), None);
        assert_eq!(role(&["mine"]), None);
    }
}
