//! A namespace declared, and what each role needs on it: shown, and given to users that are made for that.
//!
//! It talks to the broker, not to aggregators. What would surprise: what there is stays, so that it may be done again, also with
//! other passwords; but a permission that somebody has widened is as narrow as before afterwards.

use crate::cli::SetUp;
use crate::failure;
use crate::print_text;
use crate::session::SessionError;
use rabbit_reduce_core::permissions::{Permissions, Role};
use rabbit_reduce_runtime::broker::Broker;
use rabbit_reduce_runtime::broker::rabbit::{Management, ManagementError, password_in};
use rabbit_reduce_runtime::private;
use rabbit_reduce_runtime::process::broker::{connect, failure as broker_failure, topology, url};
use rabbit_reduce_runtime::process::chance;
use rabbit_reduce_runtime::process::exit::Exit;
use rabbit_reduce_runtime::process::shutdown::Shutdown;
use rabbit_reduce_runtime::process::start::Failure;
use rabbit_reduce_runtime::process::tell;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Does it.
///
/// # Errors
/// With the exit code that the failure means.
pub(crate) async fn execute(set_up: SetUp, shutdown: Shutdown) -> Result<Exit, Failure> {
    tokio::select! {
        done = declared(set_up) => done,
        () = shutdown.graceful() => Err(failure(SessionError::Interrupted)),
    }
}

async fn declared(SetUp { broker: args, users }: SetUp) -> Result<Exit, Failure> {
    let url = url(&args)?;
    let make = |(management_url, folder): (String, PathBuf)| {
        Ok::<_, Failure>((Management::new(&management_url, &url, &args.credentials()).map_err(refused)?, folder))
    };
    let users = users.map(make).transpose()?;
    let broker = connect(&args).await?;
    broker.declare(&topology(&args)).await.map_err(broker_failure)?;
    tell(&format!("namespace {} is declared", args.namespace));
    if let Some((management, folder)) = users {
        for role in Role::ALL {
            let (name, path) = (user(role, &args.namespace), folder.join(role.name()));
            let password = password(&path).map_err(|reason| Failure::new(Exit::InputOutput, reason))?;
            management.put_user(&name, &password).await.map_err(refused)?;
            let permissions = Permissions::of(role, &args.namespace);
            management.put_permissions(&name, &permissions).await.map_err(refused)?;
            tell(&format!(
                "user {name} may do what the {} role needs; its password is in {}",
                role.name(),
                path.display()
            ));
        }
    }
    print_text(&permissions_text(&args.namespace, url.virtual_host()))
}

fn user(role: Role, namespace: &str) -> String {
    format!("{namespace}-{}", role.name())
}

fn refused(error: ManagementError) -> Failure {
    let exit = if let ManagementError::Access(_) = error { Exit::Usage } else { Exit::Broker };
    Failure::new(exit, error)
}

/// What each role needs, as the command that gives it.
fn permissions_text(namespace: &str, virtual_host: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let line = |role: Role| {
        let Permissions { configure, write, read } = Permissions::of(role, namespace);
        let [configure, write, read] = [configure, write, read].map(|text| quoted(&text));
        let (virtual_host, user) = (quoted(virtual_host), user(role, namespace));
        format!("rabbitmqctl set_permissions -p {virtual_host} {user} {configure} {write} {read}\n")
    };
    Role::ALL.map(line).concat()
}

/// The password in a file; a new one if there is no such file.
fn password(path: &Path) -> Result<String, String> {
    let text = format!("{}{}", chance::id().simple(), chance::id().simple());
    let made = private::new_file(path);
    match made.and_then(|mut file| writeln!(file, "{text}")) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(format!("{} cannot be written: {error}", path.display()))
        }
        _ => password_in(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_password_is_made_once_and_is_for_nobody_else_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker");
        let made = password(&path).unwrap();
        assert!(made.len() >= 32, "{made}");
        assert_eq!(password(&path).unwrap(), made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "mine\n").unwrap();
        assert_eq!(password(&path).unwrap(), "mine");
        fs::write(&path, "\n").unwrap();
        assert!(password(&path).unwrap_err().contains("holds no password"));
        let nowhere = folder.path().join("nowhere/worker");
        assert!(password(&nowhere).unwrap_err().contains("nowhere/worker cannot be written"));
    }

    #[test]
    fn what_is_shown_can_be_pasted() {
        let text = permissions_text("jobs.a", "it's");
        let expected = r"rabbitmqctl set_permissions -p 'it'\''s' jobs.a-producer '^jobs[.]a[.](private[.].*)$' ";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(text.lines().count(), 3);
    }
}
