//! What is taken for input, in which order, by which names, and what is refused.

use super::*;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use tempfile::TempDir;

fn folder_with(files: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    folder
}

fn names(collected: &Collected, beneath: &Path) -> Vec<String> {
    let prefix = format!("{}/", beneath.display());
    let name = |source: &Source| String::from_utf8(source.name.0.clone()).unwrap();
    collected.sources.iter().map(name).map(|name| name.strip_prefix(&prefix).unwrap_or(&name).to_owned()).collect()
}

#[test]
fn files_of_a_folder_come_in_byte_order_of_their_joined_names() {
    let folder = folder_with(&["b", "a/c", "a-b", "ab", "a/B", ".hidden", "a/.d/e", "B"]);
    let collected = collect(&[folder.path().to_owned()]).unwrap();
    let expected = [".hidden", "B", "a-b", "a/.d/e", "a/B", "a/c", "ab", "b"];
    assert_eq!(names(&collected, folder.path()), expected);
    assert_eq!(collected.skipped, Skipped::default());
}

#[test]
fn inputs_keep_their_order_and_their_names() {
    let folder = folder_with(&["x/1", "y"]);
    let typed = PathBuf::from(format!("{}/", folder.path().join("x").display()));
    let collected = collect(&[folder.path().join("y"), "-".into(), typed]).unwrap();
    assert_eq!(names(&collected, folder.path()), ["y", "-", "x/1"]);
    assert_eq!(collected.sources[1].file, None);
    let stamp = collected.sources[2].file.as_ref().unwrap();
    assert_eq!(stamp.path.0, folder.path().join("x/1").into_os_string().into_encoded_bytes());
    assert_eq!(stamp.size, 3);
    assert!(stamp.modified_ns > 0);
}

#[test]
fn a_path_is_made_absolute_and_not_resolved() {
    let folder = folder_with(&["real"]);
    symlink("real", folder.path().join("link")).unwrap();
    let collected = collect(&[folder.path().join("./link")]).unwrap();
    let path = &collected.sources[0].file.as_ref().unwrap().path.0;
    assert_eq!(*path, folder.path().join("link").into_os_string().into_encoded_bytes());
}

#[test]
fn a_path_takes_no_detours() {
    let folder = folder_with(&["far/away/in/file", "near"]);
    symlink("file", folder.path().join("far/away/in/link")).unwrap();
    symlink("far/away", folder.path().join("there")).unwrap();
    // What lies above a link is above where it leads to.
    let collected = collect(&[folder.path().join("there/../away/in/link")]).unwrap();
    let path = &collected.sources[0].file.as_ref().unwrap().path.0;
    let real = folder.path().canonicalize().unwrap().join("far/away/in/link");
    assert_eq!(*path, real.into_os_string().into_encoded_bytes());
}

#[test]
fn links_to_files_are_followed_and_links_to_folders_only_where_typed() {
    let folder = folder_with(&["in/file", "far/away"]);
    symlink("../far/away", folder.path().join("in/link")).unwrap();
    symlink("..", folder.path().join("in/loop")).unwrap();
    symlink("nowhere", folder.path().join("in/dangling")).unwrap();
    symlink("in", folder.path().join("typed")).unwrap();
    let _socket = UnixListener::bind(folder.path().join("in/socket")).unwrap();
    let collected = collect(&[folder.path().join("typed")]).unwrap();
    assert_eq!(names(&collected, folder.path()), ["typed/file", "typed/link"]);
    assert_eq!(collected.skipped.count, 3);
    assert!(collected.skipped.to_string().ends_with(", and 2 more: they are neither files nor folders"));
}

#[test]
fn an_empty_folder_is_no_input_and_no_error() {
    let folder = TempDir::new().unwrap();
    assert_eq!(collect(&[folder.path().to_owned()]).unwrap(), Collected::default());
}

#[test]
fn all_unusable_inputs_are_told_of_at_once() {
    let folder = folder_with(&["there", "self"]);
    let place = |name: &str| folder.path().join(name);
    symlink("loop", place("loop")).unwrap();
    let error = collect(&[place("a"), place("there"), place("b\n"), place("loop")]).unwrap_err().to_string();
    assert!(error.contains("/a: check the spelling") && error.contains("/b\\n: check"), "{error}");
    assert!(error.contains("/loop cannot be read (") && error.matches("; ").count() == 2, "{error}");
    let many: Vec<_> = (0..25).map(|number| place(&number.to_string())).collect();
    assert!(collect(&many).unwrap_err().to_string().ends_with("; and 5 more"));
}

#[test]
fn what_is_no_regular_file_is_a_stream() {
    let collected = collect(&["/dev/null".into(), "/proc/self/status".into()]).unwrap();
    assert!(collected.sources.iter().all(|source| source.file.is_none()));
    assert_eq!(names(&collected, Path::new("/")), ["/dev/null", "/proc/self/status"]);
}

#[test]
fn files_that_are_what_they_were_can_be_read_again_and_nothing_else() {
    let folder = folder_with(&["same", "touched", "gone"]);
    let mut sources = collect(&[folder.path().to_owned()]).unwrap().sources;
    check_again(&sources).unwrap();
    fs::write(folder.path().join("touched"), "longer than before").unwrap();
    fs::remove_file(folder.path().join("gone")).unwrap();
    sources.push(collect(&["-".into()]).unwrap().sources.remove(0));
    let error = check_again(&sources).unwrap_err().to_string();
    let problems: Vec<_> = error.split("; ").collect();
    assert_eq!(problems.len(), 3, "{error}");
    assert!(problems[0].contains("there is no ") && problems[0].contains("/gone: "), "{error}");
    assert!(problems[1].contains("/touched changed since the job was made (it had 7 bytes)"), "{error}");
    assert_eq!(problems[2], "- is a stream, which cannot be read twice: push it again");
}
