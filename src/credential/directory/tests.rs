use std::cell::Cell;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::error::ErrorKind;
use crate::id::OrganizationId;
use crate::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};

const ROOT: &str = "TENANTRY_TEST_ROOT";
const ACT: &str = "TENANTRY_TEST_ACT";
const STEP: &str = "TENANTRY_TEST_STEP";
const ID: Uuid = Uuid::from_u128(0xAB);
const PATIENCE: Duration = Duration::from_secs(120);

/// Two organizations, in a directory that holds nothing yet.
struct Two {
    dir: TempDir,
    issuer: ScopeIssuer,
    a: TenantScope,
    b: TenantScope,
}

async fn two() -> Two {
    let dir = tempfile::tempdir().unwrap();
    let (issuer, a, b) = scopes().await;
    Two { dir, issuer, a, b }
}

async fn scopes() -> (ScopeIssuer, TenantScope, TenantScope) {
    let ann = Principal::user("ann");
    let [a, b] = ["acme", "acme-2"].map(|name| OrganizationId::from_text(name).unwrap());
    let directory = MemoryDirectory::new();
    directory.add_member(&a, &ann, Role::Member);
    directory.add_member(&b, &ann, Role::Member);
    let issuer = ScopeIssuer::new(directory);
    let (a, b) = (issuer.enter(&ann, a).await.unwrap(), issuer.enter(&ann, b).await.unwrap());
    (issuer, a, b)
}

impl Two {
    fn root(&self) -> PathBuf {
        self.dir.path().join("credentials")
    }

    fn open(&self) -> CredentialDirectory {
        CredentialDirectory::open(&self.root(), PATIENCE).unwrap()
    }

    fn organization(&self, scope: &TenantScope) -> PathBuf {
        self.root().join(scope.organization().encoded())
    }

    fn file(&self, scope: &TenantScope, id: Uuid) -> PathBuf {
        self.organization(scope).join(file_name(id))
    }
}

/// Each step by itself, as the store takes them in one turn.
impl CredentialDirectory {
    fn put(&self, scope: &TenantScope, id: Uuid, record: &Record) -> Result<()> {
        self.writer(scope, true)?.put(id, record)
    }

    fn read(&self, scope: &TenantScope, id: Uuid) -> Result<Record> {
        let shelf = self.shelf(&Owner::Organization(scope.clone()), false)?;
        shelf.ok_or_else(missing)?.read(id)
    }

    fn replace(&self, scope: &TenantScope, id: Uuid, seen: u64, record: &Record) -> Result<()> {
        self.writer(scope, false)?.replace(id, seen, record)
    }

    fn delete(&self, scope: &TenantScope, id: Uuid) -> Result<()> {
        self.writer(scope, false)?.delete(id)
    }

    fn list(
        &self,
        scope: &TenantScope,
    ) -> Result<impl Iterator<Item = (Uuid, Result<Record>)> + use<>> {
        let turn = self.turn(&Owner::Organization(scope.clone()), false)?;
        let ids = turn.as_ref().map_or(Ok(Vec::new()), Turn::ids)?;
        let read = move |id| Some((id, turn.as_ref()?.shelf().read(id)));
        Ok(ids.into_iter().filter_map(read).collect::<Vec<_>>().into_iter())
    }

    fn writer(&self, scope: &TenantScope, create: bool) -> Result<Turn> {
        self.turn(&Owner::Organization(scope.clone()), create)?.ok_or_else(missing)
    }
}

fn record(version: u64, text: &str) -> Record {
    Record {
        version,
        metadata: format!("metadata {text}").into_bytes(),
        sealed: [&[0xFA, 1], text.as_bytes()].concat(),
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    let text = format!("{error:?}");
    for word in ["acme", "61636d65", "/", "metadata"] {
        assert!(!text.contains(word), "{text}");
    }
    error.to_string()
}

#[tokio::test]
async fn organizations_with_the_same_ids_keep_credentials_of_their_own() {
    let two = two().await;
    let store = two.open();
    assert_eq!(store.list(&two.a).unwrap().count(), 0);
    store.put(&two.a, ID, &record(1, "a")).unwrap();
    store.put(&two.b, ID, &record(1, "b")).unwrap();
    store.put(&two.b, Uuid::from_u128(1), &record(1, "other")).unwrap();
    assert_eq!(store.read(&two.a, ID).unwrap(), record(1, "a"));
    assert_eq!(store.read(&two.b, ID).unwrap(), record(1, "b"));
    let listed: Vec<_> =
        store.list(&two.b).unwrap().map(|(id, record)| (id, record.unwrap())).collect();
    assert_eq!(listed, [(Uuid::from_u128(1), record(1, "other")), (ID, record(1, "b"))]);
    store.replace(&two.a, ID, 1, &record(2, "a2")).unwrap();
    store.delete(&two.a, ID).unwrap();
    assert_eq!(store.list(&two.a).unwrap().count(), 0);
    assert_eq!(store.read(&two.b, ID).unwrap(), record(1, "b"));
}

#[tokio::test]
async fn a_foreign_credential_is_a_missing_one() {
    let two = two().await;
    let store = two.open();
    store.put(&two.b, ID, &record(1, "b")).unwrap();
    let mut texts = Vec::new();
    for scope in [&two.a, &two.a, &two.b] {
        let id = if scope.organization() == two.a.organization() { ID } else { Uuid::from_u128(9) };
        texts.push(refused(store.read(scope, id), ErrorKind::NotFound));
        texts.push(refused(store.replace(scope, id, 1, &record(2, "x")), ErrorKind::NotFound));
        texts.push(refused(store.delete(scope, id), ErrorKind::NotFound));
        // The second time the organization has a directory.
        if texts.len() == 3 {
            store.put(&two.a, Uuid::from_u128(5), &record(1, "a")).unwrap();
        }
    }
    texts.dedup();
    assert_eq!(texts, ["no such credential"]);
    assert_eq!(store.read(&two.b, ID).unwrap(), record(1, "b"));
}

#[tokio::test]
async fn a_credential_is_put_once_and_replaced_from_its_version_alone() {
    let two = two().await;
    let store = two.open();
    store.put(&two.a, ID, &record(7, "seven")).unwrap();
    refused(store.put(&two.a, ID, &record(1, "again")), ErrorKind::Conflict);
    for expected in [6, 8] {
        refused(store.replace(&two.a, ID, expected, &record(9, "nine")), ErrorKind::Conflict);
    }
    for version in [7, 6, 0] {
        refused(store.replace(&two.a, ID, 7, &record(version, "back")), ErrorKind::Misuse);
    }
    assert_eq!(store.read(&two.a, ID).unwrap(), record(7, "seven"));
    store.replace(&two.a, ID, 7, &record(9, "nine")).unwrap();
    assert_eq!(store.read(&two.a, ID).unwrap(), record(9, "nine"));
}

#[tokio::test]
async fn a_scope_that_has_ended_reaches_nothing() {
    let two = two().await;
    let store = two.open();
    store.put(&two.a, ID, &record(1, "a")).unwrap();
    two.issuer.suspend(two.a.organization());
    refused(store.put(&two.a, Uuid::from_u128(2), &record(1, "a")), ErrorKind::Denied);
    refused(store.read(&two.a, ID), ErrorKind::Denied);
    refused(store.replace(&two.a, ID, 1, &record(2, "a")), ErrorKind::Denied);
    refused(store.list(&two.a).map(Iterator::count), ErrorKind::Denied);
    refused(store.delete(&two.a, ID), ErrorKind::Denied);
    assert!(two.file(&two.a, ID).exists());
}

#[tokio::test]
async fn files_are_the_owners_alone_and_so_is_the_directory() {
    let two = two().await;
    two.open().put(&two.a, ID, &record(1, "a")).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(two.root()), 0o700);
    assert_eq!(mode(two.organization(&two.a)), 0o700);
    assert_eq!(mode(two.file(&two.a, ID)), 0o600);
    assert_eq!(mode(two.organization(&two.a).join("lock")), 0o600);

    let loosen = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    loosen(two.organization(&two.a), 0o750).unwrap();
    refused(two.open().read(&two.a, ID), ErrorKind::Unconfigured);
    refused(two.open().put(&two.a, Uuid::from_u128(1), &record(1, "a")), ErrorKind::Unconfigured);
    loosen(two.organization(&two.a), 0o700).unwrap();
    loosen(two.root(), 0o701).unwrap();
    refused(CredentialDirectory::open(&two.root(), PATIENCE), ErrorKind::Unconfigured);
}

#[tokio::test]
async fn no_symbolic_link_is_followed_inside_the_directory_or_out_of_it() {
    let two = two().await;
    let store = two.open();
    store.put(&two.b, ID, &record(1, "b")).unwrap();
    let theirs = two.file(&two.b, ID);
    let before = fs::read(&theirs).unwrap();

    // In the place of the organization's directory, at the other one's and outside.
    let outside = tempfile::tempdir().unwrap();
    let relative = PathBuf::from(two.b.organization().encoded());
    for target in [two.organization(&two.b), relative.clone(), outside.path().to_owned()] {
        symlink(&target, two.organization(&two.a)).unwrap();
        assert!(store.read(&two.a, ID).is_err());
        assert!(store.list(&two.a).is_err());
        assert!(store.put(&two.a, Uuid::from_u128(3), &record(1, "a")).is_err());
        assert!(store.replace(&two.a, ID, 1, &record(2, "a")).is_err());
        assert!(store.delete(&two.a, ID).is_err());
        fs::remove_file(two.organization(&two.a)).unwrap();
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(fs::read_dir(two.organization(&two.b)).unwrap().count(), 2, "its file and its lock");

    // In the place of a file, and of the lock.
    store.put(&two.a, Uuid::from_u128(1), &record(1, "a")).unwrap();
    let beside = Path::new("..").join(relative).join(file_name(ID));
    for target in [theirs.clone(), beside, outside.path().join("new"), "../elsewhere".into()] {
        symlink(&target, two.file(&two.a, ID)).unwrap();
        refused(store.read(&two.a, ID), ErrorKind::Corrupt);
        refused(store.replace(&two.a, ID, 1, &record(2, "a")), ErrorKind::Corrupt);
        refused(store.put(&two.a, ID, &record(1, "a")), ErrorKind::Conflict);
        let listed: Vec<_> = store.list(&two.a).unwrap().collect();
        assert_eq!(listed.len(), 2);
        assert!(listed[0].1.is_ok() && listed[1].1.is_err());
        store.delete(&two.a, ID).unwrap();
    }
    fs::remove_file(two.organization(&two.a).join("lock")).unwrap();
    symlink(outside.path().join("lock"), two.organization(&two.a).join("lock")).unwrap();
    assert!(store.put(&two.a, ID, &record(1, "a")).is_err());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(fs::read(&theirs).unwrap(), before);

    // In the place of the whole directory.
    let link = two.dir.path().join("link");
    symlink(two.root(), &link).unwrap();
    refused(CredentialDirectory::open(&link, PATIENCE), ErrorKind::Unconfigured);
    refused(CredentialDirectory::open(&two.root().join(".."), PATIENCE), ErrorKind::Unconfigured);
}

#[tokio::test]
async fn c17_a_file_in_the_place_of_another_is_an_incident() {
    let two = two().await;
    let store = two.open();
    store.put(&two.a, ID, &record(1, "a")).unwrap();
    store.put(&two.a, Uuid::from_u128(1), &record(1, "first")).unwrap();
    store.put(&two.b, ID, &record(1, "b")).unwrap();
    let ours = two.file(&two.a, ID);
    let own = fs::read(&ours).unwrap();
    for source in [two.file(&two.b, ID), two.file(&two.a, Uuid::from_u128(1))] {
        fs::remove_file(&ours).unwrap();
        fs::hard_link(&source, &ours).unwrap();
        refused(store.read(&two.a, ID), ErrorKind::Incident);
        refused(store.replace(&two.a, ID, 1, &record(2, "a")), ErrorKind::Incident);
        assert_eq!(fs::read(&ours).unwrap(), fs::read(&source).unwrap(), "it was overwritten");
    }
    fs::remove_file(&ours).unwrap();
    fs::write(&ours, own).unwrap();
    assert_eq!(store.read(&two.a, ID).unwrap(), record(1, "a"));
}

#[tokio::test]
async fn c24_one_damaged_credential_is_one_error_and_is_not_overwritten() {
    let two = two().await;
    let store = two.open();
    for n in 0..100 {
        store.put(&two.a, Uuid::from_u128(n), &record(1, &n.to_string())).unwrap();
    }
    let damaged = two.file(&two.a, Uuid::from_u128(42));
    fs::write(&damaged, "half").unwrap();
    fs::write(two.organization(&two.a).join("note.txt"), "no credential").unwrap();
    let upper = format!("{}.credential", ID.simple().to_string().to_uppercase());
    fs::write(two.organization(&two.a).join(upper), "no credential").unwrap();
    let listed: Vec<_> = store.list(&two.a).unwrap().collect();
    assert_eq!(listed.len(), 100);
    for (n, (id, found)) in listed.into_iter().enumerate() {
        assert_eq!(id, Uuid::from_u128(n as u128));
        if n == 42 {
            refused(found, ErrorKind::Corrupt);
        } else {
            assert_eq!(found.unwrap(), record(1, &n.to_string()));
        }
    }
    let id = Uuid::from_u128(42);
    refused(store.replace(&two.a, id, 1, &record(2, "x")), ErrorKind::Corrupt);
    refused(store.put(&two.a, id, &record(1, "x")), ErrorKind::Conflict);
    assert_eq!(fs::read_to_string(&damaged).unwrap(), "half");
    fs::write(&damaged, vec![0; MOST_BYTES + 1]).unwrap();
    refused(store.read(&two.a, id), ErrorKind::Corrupt);
    store.delete(&two.a, id).unwrap();
}

const MOST_BYTES: usize = record::MOST as usize;

#[tokio::test]
async fn c34_long_credentials_are_kept_and_over_long_ones_refused() {
    let two = two().await;
    let store = two.open();
    let long = |metadata, sealed| Record {
        version: 1,
        metadata: vec![1; metadata],
        sealed: vec![2; sealed],
    };
    for (n, size) in [64 * 1_024, 1_024 * 1_024, 2 * 1_024 * 1_024].into_iter().enumerate() {
        let id = Uuid::from_u128(n as u128);
        store.put(&two.a, id, &long(64 * 1_024, size)).unwrap();
        assert_eq!(store.read(&two.a, id).unwrap(), long(64 * 1_024, size));
    }
    refused(store.put(&two.a, ID, &long(0, 2 * 1_024 * 1_024 + 1)), ErrorKind::Invalid);
    refused(store.put(&two.a, ID, &long(64 * 1_024 + 1, 0)), ErrorKind::Invalid);
    refused(store.read(&two.a, ID), ErrorKind::NotFound);
}

/// An error before the change leaves the old state and no file; one after it does not deny it.
#[tokio::test]
async fn a_change_that_stands_is_not_reported_as_one_that_does_not() {
    let two = two().await;
    let store = two.open();
    store.put(&two.a, ID, &record(1, "a")).unwrap();
    for step in ["created", "written", "synced"] {
        FAILING.set(step);
        let text = refused(store.replace(&two.a, ID, 1, &record(2, "x")), ErrorKind::Unavailable);
        assert_eq!(text, "a credential file or directory could not be written", "{step}");
        assert_eq!(store.read(&two.a, ID).unwrap(), record(1, "a"));
        assert_eq!(fs::read_dir(two.organization(&two.a)).unwrap().count(), 2, "{step}");
    }
    FAILING.set("renamed");
    let text = refused(store.replace(&two.a, ID, 1, &record(2, "b")), ErrorKind::Unavailable);
    assert!(text.contains("read it before trying again"), "{text}");
    assert_eq!(store.read(&two.a, ID).unwrap(), record(2, "b"));
    FAILING.set("removed");
    let text = refused(store.delete(&two.a, ID), ErrorKind::Unavailable);
    assert!(text.contains("read it before trying again"), "{text}");
    refused(store.read(&two.a, ID), ErrorKind::NotFound);
    FAILING.set("");
}

/// Only root may give a directory away; elsewhere nobody can stage this.
#[tokio::test]
async fn a_directory_of_another_user_is_refused() {
    let two = two().await;
    let store = two.open();
    store.put(&two.a, ID, &record(1, "a")).unwrap();
    for dir in [two.organization(&two.a), two.root()] {
        if std::os::unix::fs::chown(&dir, Some(private::user() + 1), None).is_err() {
            return;
        }
        match dir == two.root() {
            true => {
                let again = CredentialDirectory::open(&two.root(), PATIENCE);
                refused(again.map(drop), ErrorKind::Unconfigured);
            }
            false => drop(refused(store.read(&two.a, ID), ErrorKind::Unconfigured)),
        }
        std::os::unix::fs::chown(&dir, Some(private::user()), None).unwrap();
        assert_eq!(store.read(&two.a, ID).unwrap(), record(1, "a"));
    }
}

#[tokio::test]
async fn a_writer_that_does_not_finish_is_not_waited_for_without_end() {
    let two = two().await;
    let store = two.open();
    store.put(&two.a, ID, &record(1, "a")).unwrap();
    let hasty = CredentialDirectory::open(&two.root(), Duration::ZERO).unwrap();
    let turn = store.writer(&two.a, false).unwrap();
    refused(hasty.replace(&two.a, ID, 1, &record(2, "x")), ErrorKind::Unavailable);
    refused(hasty.delete(&two.a, ID), ErrorKind::Unavailable);
    assert_eq!(hasty.read(&two.a, ID).unwrap(), record(1, "a"), "readers wait for nobody");
    hasty.put(&two.b, ID, &record(1, "b")).unwrap();
    drop(turn);
    // A process that another test starts holds the lock too, until it has become its program.
    store.replace(&two.a, ID, 1, &record(2, "x")).unwrap();
}

#[tokio::test]
async fn every_edit_of_every_byte_and_every_length_of_a_file_is_refused() {
    let organization = OrganizationId::from_text("acme").unwrap();
    let bytes = record(3, "text").encode(&organization.encoded(), ID).unwrap();
    assert_eq!(Record::decode(&bytes, &organization.encoded(), ID).unwrap(), record(3, "text"));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut edited = bytes.clone();
            edited[at] ^= 1 << bit;
            refused(Record::decode(&edited, &organization.encoded(), ID), ErrorKind::Corrupt);
        }
        refused(Record::decode(&bytes[..at], &organization.encoded(), ID), ErrorKind::Corrupt);
    }
    refused(
        Record::decode(&[&bytes[..], &[0]].concat(), &organization.encoded(), ID),
        ErrorKind::Corrupt,
    );
}

/// The bytes of a file whose digest is right and whose parts are not.
fn forged(body: &[u8]) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    [body, Sha256::digest(body).as_slice()].concat()
}

#[tokio::test]
async fn a_file_that_only_resembles_a_credential_is_refused() {
    let organization = OrganizationId::from_text("acme").unwrap();
    let bytes = record(3, "text").encode(&organization.encoded(), ID).unwrap();
    let body = &bytes[..bytes.len() - 32];
    for at in 0..body.len() {
        refused(
            Record::decode(&forged(&body[..at]), &organization.encoded(), ID),
            ErrorKind::Corrupt,
        );
    }
    let longer = forged(&[body, b"x"].concat());
    refused(Record::decode(&longer, &organization.encoded(), ID), ErrorKind::Corrupt);
    let other = String::from_utf8_lossy(body).replace("credential/1", "credential/2");
    assert!(Record::decode(&forged(other.as_bytes()), &organization.encoded(), ID).is_err());
}

proptest! {
    #[test]
    fn whatever_is_stored_is_read_back(version: u64, metadata: Vec<u8>, sealed: Vec<u8>) {
        let organization = OrganizationId::from_i64(7).unwrap();
        let record = Record { version, metadata, sealed };
        let bytes = record.encode(&organization.encoded(), ID).unwrap();
        prop_assert_eq!(Record::decode(&bytes, &organization.encoded(), ID).unwrap(), record);
    }

    #[test]
    fn no_bytes_are_a_credential_by_chance(bytes: Vec<u8>) {
        let organization = OrganizationId::from_i64(7).unwrap();
        prop_assert!(Record::decode(&bytes, &organization.encoded(), ID).is_err());
        prop_assert!(Record::decode(&forged(&bytes), &organization.encoded(), ID).is_err());
    }
}

thread_local! {
    /// The step that fails.
    static FAILING: Cell<&'static str> = const { Cell::new("") };
}

/// Says where it is, and stays there if it is the last place.
pub(super) fn reached(step: &str) -> io::Result<()> {
    if std::env::var(STEP).is_ok_and(|last| last == step) {
        println!("reached {step}");
        loop {
            std::thread::park();
        }
    }
    match FAILING.get() == step {
        true => Err(io::Error::other("the disk is gone")),
        false => Ok(()),
    }
}

/// The process that is killed, or that competes: does nothing unless it is started as such.
#[tokio::test]
async fn a_writing_process() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let (_, a, _) = scopes().await;
    let store = CredentialDirectory::open(Path::new(&root), PATIENCE).unwrap();
    match std::env::var(ACT).unwrap().as_str() {
        "put" => store.put(&a, ID, &record(1, "new")).unwrap(),
        "replace" => store.replace(&a, ID, 1, &record(2, "new")).unwrap(),
        "delete" => store.delete(&a, ID).unwrap(),
        "change" => change(&store.writer(&a, false).unwrap()),
        act => {
            let writer: u8 = act.parse().unwrap();
            for _ in 0..ROUNDS {
                append(&store, &a, writer);
            }
        }
    }
    println!("reached the end");
}

/// Two credentials, and what is said beside them, in one step.
fn change(turn: &Turn) {
    let mut changes = Vec::new();
    for id in [ID, Uuid::from_u128(1)] {
        changes.push(turn.changed(id, &record(1, "new")).unwrap());
    }
    changes.push(turn.changed_sheet("said", Some(b"new")).unwrap());
    changes.push(turn.changed_sheet("unsaid", None).unwrap());
    turn.change(&changes).unwrap();
}

/// Adds one letter to the credential, by compare-and-set, however often others come between.
fn append(store: &CredentialDirectory, scope: &TenantScope, writer: u8) {
    loop {
        let Record { version, metadata, mut sealed } = store.read(scope, ID).unwrap();
        sealed.push(writer);
        let next = Record { version: version + 1, metadata, sealed };
        match store.replace(scope, ID, version, &next) {
            Ok(()) => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
        }
    }
}

const ROUNDS: usize = 40;
const WRITERS: u8 = 4;

fn start(two: &Two, act: &str, step: &str) -> (Child, BufReader<ChildStdout>) {
    let path = module_path!().split_once("::").unwrap().1;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{path}::a_writing_process"), "--nocapture"])
        .env(ROOT, two.root())
        .env(ACT, act)
        .env(STEP, step)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

#[tokio::test]
async fn c04_processes_that_replace_one_credential_at_once_lose_no_write() {
    let two = two().await;
    let store = two.open();
    store.put(&two.a, ID, &Record { version: 0, metadata: vec![], sealed: vec![] }).unwrap();
    store.put(&two.b, ID, &record(1, "b")).unwrap();
    let writers: Vec<_> = (0..WRITERS).map(|writer| start(&two, &writer.to_string(), "")).collect();
    for (mut child, out) in writers {
        let ended =
            out.lines().map_while(Result::ok).filter(|line| line.contains("reached the end"));
        assert_eq!(ended.count(), 1);
        assert!(child.wait().unwrap().success());
    }
    let found = store.read(&two.a, ID).unwrap();
    assert_eq!(found.version, u64::from(WRITERS) * ROUNDS as u64);
    for writer in 0..WRITERS {
        assert_eq!(found.sealed.iter().filter(|by| **by == writer).count(), ROUNDS);
    }
    assert_eq!(store.read(&two.b, ID).unwrap(), record(1, "b"));
}

#[tokio::test]
async fn c32_a_writer_killed_at_any_step_leaves_the_old_credential_or_the_new() {
    for act in ["put", "replace", "delete"] {
        let steps: &[&str] = match act {
            "delete" => &["removed"],
            _ => &["created", "written", "synced", "renamed"],
        };
        for step in steps {
            let two = two().await;
            let store = two.open();
            store.put(&two.b, ID, &record(1, "b")).unwrap();
            store.put(&two.a, Uuid::from_u128(1), &record(1, "beside")).unwrap();
            if act != "put" {
                store.put(&two.a, ID, &record(1, "old")).unwrap();
            }
            let (mut child, out) = start(&two, act, step);
            let stopped = out.lines().map_while(Result::ok).any(|line| line.contains("reached "));
            assert!(stopped, "{act} ended before {step}");
            child.kill().unwrap();
            child.wait().unwrap();

            let found = store.read(&two.a, ID);
            let after = *step == "renamed" || *step == "removed";
            match (act, after) {
                ("put", false) | ("delete", true) => {
                    refused(found, ErrorKind::NotFound);
                }
                ("put", true) => assert_eq!(found.unwrap(), record(1, "new")),
                ("replace", true) => assert_eq!(found.unwrap(), record(2, "new")),
                _ => assert_eq!(found.unwrap(), record(1, "old"), "{act} {step}"),
            }
            let listed: Vec<_> = store.list(&two.a).unwrap().collect();
            assert!(listed.iter().all(|(_, record)| record.is_ok()), "{act} {step}");
            // The next writer does not wait for the killed one, and clears up after it.
            let hasty = CredentialDirectory::open(&two.root(), Duration::ZERO).unwrap();
            hasty.put(&two.a, Uuid::from_u128(2), &record(1, "after")).unwrap();
            for entry in fs::read_dir(two.organization(&two.a)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(name == "lock" || name.ends_with(".credential"), "{act} {step} {name}");
            }
            assert_eq!(store.read(&two.a, Uuid::from_u128(1)).unwrap(), record(1, "beside"));
            assert_eq!(store.read(&two.b, ID).unwrap(), record(1, "b"));
        }
    }
}

#[tokio::test]
async fn c32_a_writer_of_several_files_that_is_killed_at_any_step_changes_all_or_none() {
    for step in ["created", "written", "synced", "renamed", "journaled", "made", "cleared"] {
        let two = two().await;
        let store = two.open();
        let other = Uuid::from_u128(1);
        for id in [ID, other] {
            store.put(&two.a, id, &record(1, "old")).unwrap();
            store.put(&two.b, id, &record(1, "b")).unwrap();
        }
        let turn = store.writer(&two.a, false).unwrap();
        turn.set_sheet("said", b"old").unwrap();
        turn.set_sheet("unsaid", b"old").unwrap();
        drop(turn);
        let (mut child, out) = start(&two, "change", step);
        let stopped = out.lines().map_while(Result::ok).any(|line| line.contains("reached "));
        assert!(stopped, "it ended before {step}");
        child.kill().unwrap();
        child.wait().unwrap();

        let decided = !["created", "written", "synced"].contains(&step);
        let text = if decided { "new" } else { "old" };
        // Who takes no turn finds each of them whole.
        for id in [ID, other] {
            let found = store.read(&two.a, id).unwrap();
            assert!([record(1, "old"), record(1, text)].contains(&found), "{step}");
        }
        let turn = two.open().writer(&two.a, false).unwrap();
        for id in [ID, other] {
            assert_eq!(turn.shelf().read(id).unwrap(), record(1, text), "{step}");
        }
        assert_eq!(turn.shelf().sheet("said").unwrap().unwrap(), text.as_bytes(), "{step}");
        assert_eq!(turn.shelf().sheet("unsaid").unwrap().is_none(), decided, "{step}");
        assert!(turn.shelf().sheet("journal").unwrap().is_none(), "{step}");
        assert_eq!(turn.ids().unwrap(), [other, ID]);
        assert_eq!(store.read(&two.b, ID).unwrap(), record(1, "b"));
    }
}

#[tokio::test]
async fn c17_a_sheet_in_the_place_of_another_is_an_incident() {
    let two = two().await;
    let store = two.open();
    for scope in [&two.a, &two.b] {
        let turn = store.writer(scope, true).unwrap();
        turn.set_sheet("keys", b"keys").unwrap();
        turn.set_sheet("other", b"other").unwrap();
    }
    let sheet = |scope: &TenantScope, name| two.organization(scope).join(sheet::file_name(name));
    for source in [sheet(&two.b, "keys"), sheet(&two.a, "other")] {
        fs::copy(source, sheet(&two.a, "keys")).unwrap();
        let turn = store.writer(&two.a, false).unwrap();
        refused(turn.shelf().sheet("keys"), ErrorKind::Incident);
    }
    // A journal of somebody else's is not carried out.
    let turn = store.writer(&two.b, false).unwrap();
    let changes = vec![turn.changed(ID, &record(1, "b")).unwrap()];
    turn.set_sheet("journal", &sheet::journal(&changes).unwrap()).unwrap();
    drop(turn);
    fs::rename(sheet(&two.b, "journal"), sheet(&two.a, "journal")).unwrap();
    refused(store.put(&two.a, ID, &record(1, "a")), ErrorKind::Incident);
    assert!(!two.file(&two.a, ID).exists());
}

#[tokio::test]
async fn every_edit_of_a_sheet_or_a_journal_is_refused() {
    let changes = vec![("one".to_owned(), Some(vec![1, 2])), ("two".to_owned(), None)];
    let journal = sheet::journal(&changes).unwrap();
    assert_eq!(sheet::changes(&journal).unwrap(), changes);
    let whole = ["one".len() + 2 + 1 + 4 + 2, 0];
    for at in 0..journal.len() {
        assert_eq!(sheet::changes(&journal[..at]).is_ok(), whole.contains(&at), "{at}");
    }
    let bytes = sheet::encode("owner", "name", &journal).unwrap();
    assert_eq!(sheet::decode(&bytes, "owner", "name").unwrap(), journal);
    for at in 0..bytes.len() {
        let mut edited = bytes.clone();
        edited[at] ^= 1;
        refused(sheet::decode(&edited, "owner", "name"), ErrorKind::Corrupt);
        refused(sheet::decode(&bytes[..at], "owner", "name"), ErrorKind::Corrupt);
    }
    for at in 0..bytes.len() - 32 {
        refused(sheet::decode(&forged(&bytes[..at]), "owner", "name"), ErrorKind::Corrupt);
    }
}
