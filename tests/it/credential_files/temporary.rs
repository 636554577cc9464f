//! Temporary credential files: C40.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;
use tenantry::credential::TemporaryCredentials;
use tenantry::crypto::SecretBytes;
use tenantry::scope::{MemoryDirectory, Role, ScopeIssuer};
use tenantry::{ErrorKind, OrganizationId, TenantScope};

use crate::leaks::fixture::{again, ann};

const BASE: &str = "TENANTRY_TEST_BASE";
const ACT: &str = "TENANTRY_TEST_ACT";

struct Two {
    issuer: ScopeIssuer,
    a: TenantScope,
    b: TenantScope,
    base: TempDir,
}

async fn two() -> Two {
    let base = tempfile::tempdir().unwrap();
    let (issuer, a, b) = scopes().await;
    Two { issuer, a, b, base }
}

async fn scopes() -> (ScopeIssuer, TenantScope, TenantScope) {
    let organizations = ["acme", "acme-2"].map(|name| OrganizationId::from_text(name).unwrap());
    let directory = MemoryDirectory::new();
    for organization in &organizations {
        directory.add_member(organization, &ann(), Role::Member);
    }
    let issuer = ScopeIssuer::new(directory);
    let [a, b] = organizations;
    let (a, b) = (issuer.enter(&ann(), a).await.unwrap(), issuer.enter(&ann(), b).await.unwrap());
    (issuer, a, b)
}

fn secret(of: &TenantScope) -> SecretBytes {
    SecretBytes::new(format!("token of {}", of.organization()).into_bytes())
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Every path below a directory.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

#[tokio::test]
async fn c40_a_temporary_credential_is_its_owners_alone_and_its_name_tells_nothing() {
    let two = two().await;
    let files = TemporaryCredentials::open(two.base.path()).unwrap();
    let (a, b) = (
        files.write(&two.a, &secret(&two.a)).unwrap(),
        files.write(&two.b, &secret(&two.b)).unwrap(),
    );
    assert_ne!(a.path(), b.path());
    for (file, scope) in [(&a, &two.a), (&b, &two.b)] {
        assert_eq!(fs::read(file.path()).unwrap(), secret(scope).expose_secret());
        assert_eq!(mode(file.path()), 0o600);
        let mut dirs = file.path().ancestors().skip(1);
        assert_eq!((mode(dirs.next().unwrap()), mode(dirs.next().unwrap())), (0o700, 0o700));
        let shown = format!("{} {file:?} {files:?}", file.path().display());
        for word in ["acme", &scope.organization().encoded(), "ann", "token of"] {
            assert!(!shown.contains(word), "{shown}");
        }
    }
    let again = files.write(&two.a, &secret(&two.a)).unwrap();
    assert_ne!(a.path().parent(), again.path().parent());
    assert_ne!(a.path().file_name(), again.path().file_name());
}

#[tokio::test]
async fn c40_a_temporary_credential_goes_with_its_guard_and_what_lies_beside_it_too() {
    let two = two().await;
    let files = TemporaryCredentials::open(two.base.path()).unwrap();
    let a = files.write(&two.a, &secret(&two.a)).unwrap();
    let b = files.write(&two.b, &secret(&two.b)).unwrap();
    let renewed = a.path().with_extension("renewed");
    fs::write(&renewed, "a renewed token").unwrap();
    fs::rename(&renewed, a.path()).unwrap();
    fs::write(&renewed, "a backup").unwrap();
    let path = a.path().to_owned();
    drop(a);
    assert!(!path.exists() && !renewed.exists() && !path.parent().unwrap().exists());
    assert!(b.path().exists());

    let path = b.path().to_owned();
    b.remove().unwrap();
    assert!(!path.exists());
    drop(files);
    assert_eq!(below(two.base.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn c40_a_temporary_credential_goes_with_a_panic() {
    let two = two().await;
    let files = TemporaryCredentials::open(two.base.path()).unwrap();
    let (scope, held) = (two.a.clone(), files.clone());
    let panicked = std::thread::spawn(move || {
        let file = held.write(&scope, &secret(&scope)).unwrap();
        assert!(file.path().exists());
        std::panic::resume_unwind(Box::new(file.path().to_owned()));
    });
    let path = panicked.join().unwrap_err().downcast::<PathBuf>().unwrap();
    assert!(!path.exists() && !path.parent().unwrap().exists());
    assert!(files.write(&two.b, &secret(&two.b)).unwrap().path().exists());
}

#[tokio::test]
async fn c40_remove_all_takes_every_file_away_for_good() {
    let two = two().await;
    let files = TemporaryCredentials::open(two.base.path()).unwrap();
    let a = files.write(&two.a, &secret(&two.a)).unwrap();
    let b = files.write(&two.b, &secret(&two.b)).unwrap();
    let other = TemporaryCredentials::open(two.base.path()).unwrap();
    let kept = other.write(&two.a, &secret(&two.a)).unwrap();
    files.remove_all().unwrap();
    assert!(!a.path().exists() && !b.path().exists() && kept.path().exists());
    let error = files.write(&two.a, &secret(&two.a)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("for good"), "{error}");
    files.remove_all().unwrap();
    drop((a, b, files));
    drop((kept, other));
    assert_eq!(below(two.base.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_scope_that_has_ended_writes_no_file() {
    let two = two().await;
    let files = TemporaryCredentials::open(two.base.path()).unwrap();
    two.issuer.suspend(two.a.organization());
    let error = files.write(&two.a, &secret(&two.a)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    let names: Vec<_> = below(two.base.path());
    assert_eq!(names.len(), 2, "the directory and its lock: {names:?}");
    assert!(files.write(&two.b, &secret(&two.b)).is_ok());
}

#[tokio::test]
async fn c40_a_directory_in_which_others_may_replace_files_is_refused() {
    let two = two().await;
    let shared = two.base.path().join("shared");
    fs::create_dir(&shared).unwrap();
    for (bits, accepted) in [(0o777, false), (0o770, false), (0o1777, true), (0o755, true)] {
        fs::set_permissions(&shared, fs::Permissions::from_mode(bits)).unwrap();
        let opened = TemporaryCredentials::open(&shared);
        assert_eq!(opened.is_ok(), accepted, "{bits:o}");
        if let Err(error) = opened {
            assert_eq!(error.kind(), ErrorKind::Unconfigured);
        }
    }
    for absent in ["absent", "file"] {
        fs::write(two.base.path().join("file"), "").unwrap();
        let error = TemporaryCredentials::open(two.base.path().join(absent)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unconfigured, "{absent}");
    }
}

#[tokio::test]
async fn c40_sweeping_follows_no_link_and_touches_nothing_else() {
    let two = two().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let precious = elsewhere.path().join("precious");
    fs::write(&precious, "kept").unwrap();
    fs::write(elsewhere.path().join("lock"), "").unwrap();
    let base = two.base.path();
    symlink(elsewhere.path(), base.join(format!("tenantry-{:032x}", 1))).unwrap();
    let orphan = base.join(format!("tenantry-{:032x}", 2));
    fs::create_dir_all(orphan.join("inside")).unwrap();
    fs::write(orphan.join("lock"), "").unwrap();
    symlink(elsewhere.path(), orphan.join("link")).unwrap();
    symlink(elsewhere.path(), orphan.join("inside/link")).unwrap();
    let empty = base.join(format!("tenantry-{:032x}", 3));
    fs::create_dir(&empty).unwrap();
    let others = ["tenantry-notes", "tenantry-00000000-0000-4000-8000-000000000001", "x"];
    for name in others {
        fs::create_dir(base.join(name)).unwrap();
        fs::write(base.join(name).join("lock"), "").unwrap();
    }
    let file = base.join(format!("tenantry-{:032x}", 4));
    fs::write(&file, "a file").unwrap();
    drop(TemporaryCredentials::open(base).unwrap());
    assert!(!orphan.exists() && !empty.exists());
    assert_eq!(fs::read_to_string(&precious).unwrap(), "kept");
    assert!(elsewhere.path().join("lock").exists() && file.exists());
    for name in others {
        assert!(base.join(name).join("lock").exists(), "{name}");
    }
}

#[tokio::test]
async fn c40_an_orphan_that_cannot_be_removed_keeps_nobody_from_starting() {
    let two = two().await;
    let base = two.base.path();
    let orphans = [1, 2, 3].map(|number| base.join(format!("tenantry-{number:032x}")));
    for orphan in &orphans {
        fs::create_dir_all(orphan.join("inside")).unwrap();
        fs::write(orphan.join("inside/credential"), "a token").unwrap();
    }
    let [first, stuck, last] = &orphans;
    fs::write(first.join("lock"), "").unwrap();
    // No lock can be taken on it.
    fs::create_dir(stuck.join("lock")).unwrap();
    fs::write(last.join("lock"), "").unwrap();
    let files = TemporaryCredentials::open(base).unwrap();
    assert!(!first.exists() && stuck.exists() && !last.exists());
    assert!(files.write(&two.a, &secret(&two.a)).unwrap().path().exists());
    drop(files);
    assert_eq!(fs::read_dir(base).unwrap().count(), 1);
}

/// Only root may give a directory away; elsewhere nobody can stage this.
#[tokio::test]
async fn c40_a_directory_of_another_user_is_refused() {
    let two = two().await;
    let theirs = two.base.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    for mode in [0o755, 0o1777] {
        fs::set_permissions(&theirs, fs::Permissions::from_mode(mode)).unwrap();
        if std::os::unix::fs::chown(&theirs, Some(12_345), None).is_err() {
            return;
        }
        let error = TemporaryCredentials::open(&theirs).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unconfigured, "{mode:o}");
        std::os::unix::fs::chown(&theirs, Some(0), None).unwrap();
        drop(TemporaryCredentials::open(&theirs).unwrap());
    }
    assert_eq!(below(&theirs), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn c40_processes_that_start_together_do_not_sweep_each_other() {
    let two = two().await;
    std::thread::scope(|threads| {
        for scope in [&two.a, &two.b].repeat(8) {
            threads.spawn(|| {
                for _ in 0..20 {
                    let files = TemporaryCredentials::open(two.base.path()).unwrap();
                    let file = files.write(scope, &secret(scope)).unwrap();
                    assert_eq!(fs::read(file.path()).unwrap(), secret(scope).expose_secret());
                }
            });
        }
    });
    assert_eq!(below(two.base.path()), Vec::<PathBuf>::new());
}

/// The process that is ended: does nothing unless it is started as such.
#[tokio::test]
#[expect(clippy::zombie_processes, reason = "the program is to outlive the process")]
async fn a_process_with_temporary_credentials() {
    let Ok(base) = std::env::var(BASE) else { return };
    let (_, a, _) = scopes().await;
    let files = TemporaryCredentials::open(base).unwrap();
    let file = files.write(&a, &secret(&a)).unwrap();
    // A program that lives on must not hold the lock of the one that started it.
    let program = Command::new("sleep").arg("600").stdout(Stdio::null()).spawn().unwrap();
    let act = std::env::var(ACT).unwrap();
    let mut signals =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
    println!("reached {} {}", program.id(), file.path().display());
    match act.as_str() {
        "wait for the signal" => {
            signals.recv().await.unwrap();
            files.remove_all().unwrap();
            std::process::exit(7);
        }
        _ => std::future::pending().await,
    }
}

struct Started {
    process: Child,
    program: String,
    file: PathBuf,
    _out: BufReader<ChildStdout>,
}

#[expect(clippy::zombie_processes, reason = "whoever starts it ends it and waits")]
fn start(base: &Path, act: &str) -> Started {
    let test = again(module_path!(), "a_process_with_temporary_credentials");
    // The mask of the process takes nothing away from the files.
    let mut process = Command::new("sh")
        .args(["-c", "umask 000; exec \"$0\" \"$@\""])
        .arg(test.get_program())
        .args(test.get_args())
        .env(BASE, base)
        .env(ACT, act)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(process.stdout.take().unwrap());
    loop {
        let mut line = String::new();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "the process ended before its time");
        if let Some((_, reached)) = line.trim_end().split_once("reached ") {
            let (program, file) = reached.split_once(' ').unwrap();
            let (program, file) = (program.to_owned(), PathBuf::from(file));
            return Started { process, program, file, _out: out };
        }
    }
}

fn signal(name: &str, process: &str) {
    let sent = Command::new("sh").args(["-c", "kill -$0 $1", name, process]).status().unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn c40_what_a_killed_process_leaves_is_swept_and_a_living_ones_is_not() {
    let two = two().await;
    let mut started = start(two.base.path(), "wait");
    assert_eq!(mode(&started.file), 0o600);
    assert_eq!(mode(started.file.parent().unwrap()), 0o700);
    assert_eq!(fs::read(&started.file).unwrap(), secret(&two.a).expose_secret());

    drop(TemporaryCredentials::open(two.base.path()).unwrap());
    assert!(started.file.exists(), "the file of a living process was swept");

    started.process.kill().unwrap();
    started.process.wait().unwrap();
    assert!(started.file.exists(), "nobody was there to remove it");
    // The system may take a moment to give up the locks of what it has killed.
    let mut files = TemporaryCredentials::open(two.base.path()).unwrap();
    for _ in 0..200 {
        if !started.file.exists() {
            break;
        }
        drop(files);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        files = TemporaryCredentials::open(two.base.path()).unwrap();
    }
    let swept = !started.file.exists();
    signal("KILL", &started.program);
    assert!(swept, "the file of a killed process stays");
    drop(files);
    assert_eq!(below(two.base.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn c40_an_application_that_handles_the_signal_leaves_no_file() {
    let two = two().await;
    let mut started = start(two.base.path(), "wait for the signal");
    signal("TERM", &started.process.id().to_string());
    let code = started.process.wait().unwrap().code();
    signal("KILL", &started.program);
    assert_eq!(code, Some(7));
    assert_eq!(below(two.base.path()), Vec::<PathBuf>::new());
}
