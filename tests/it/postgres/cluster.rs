//! A temporary PostgreSQL server for the suite, and a database of its own for every test.
//!
//! The server comes from the system's packages and is nobody else's: it listens on a port of its
//! own, in a directory of its own, and both go when the suite ends, also when it is killed
//! (`cluster.sh` says how). As root, which the server refuses, it runs as the user `postgres`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// Migrates, owns the tables.
pub const OWNER: &str = "tenantry_owner";
/// What the application connects as.
pub const APPLICATION: &str = "tenantry_app";
/// Reads and writes across organizations.
pub const CROSS_TENANT: &str = "tenantry_cross_tenant";
/// The only role whose password, `right`, is asked for.
pub const WITH_PASSWORD: &str = "with_password";
/// Whom nothing restrains.
pub const SUPERUSER: &str = "postgres";

/// A server that stops, and leaves nothing behind, when this value or the process goes.
#[derive(Debug)]
pub struct Cluster {
    port: u16,
    directory: PathBuf,
    supervisor: Mutex<Supervisor>,
    next: AtomicU32,
    /// The port of PgBouncer, once it was asked for.
    pooler: OnceLock<u16>,
    /// That of one that follows prepared statements.
    following: OnceLock<Option<u16>>,
    /// Databases whose tests have ended.
    ended: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Supervisor {
    process: Child,
    /// `None` at the end: the supervisor stops at the end of its input.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Cluster {
    /// The server that the tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(&[]));
        &SHARED
    }

    /// A server for one test alone, which may stop it or set `name = value` in its configuration.
    pub fn start(settings: &[&str]) -> Self {
        let bin = installation();
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("cluster.sh"), "cluster.sh"])
            .arg(bin)
            .args(settings)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        leave_root(&mut command);
        let mut process = command.spawn().unwrap();
        let mut supervisor = Supervisor {
            commands: process.stdin.take(),
            answers: BufReader::new(process.stdout.take().unwrap()),
            process,
        };
        let line = supervisor.line();
        let (port, directory) =
            line.split_once(' ').expect("PostgreSQL did not start; its words stand above");
        Self {
            port: port.parse().unwrap(),
            directory: PathBuf::from(directory),
            supervisor: Mutex::new(supervisor),
            next: AtomicU32::new(1),
            pooler: OnceLock::new(),
            following: OnceLock::new(),
            ended: Mutex::new(Vec::new()),
        }
    }

    /// The port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where the server keeps its files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Carries out `start`, `stop`, `restart` or `kill` (no farewell to the clients).
    pub fn control(&self, command: &str) {
        let answer = self.ask(command);
        assert_eq!(answer, "done", "{command}");
    }

    /// Starts PgBouncer in transaction mode in front of the server, unless it runs: its port. It
    /// does not follow prepared statements.
    pub fn pgbouncer(&self) -> u16 {
        *self.pooler.get_or_init(|| {
            let answer = self.ask("pgbouncer");
            answer.parse().unwrap_or_else(|_| panic!("{answer}"))
        })
    }

    /// The same for one that follows prepared statements; none where PgBouncer is older than 1.21.
    pub fn following_pgbouncer(&self) -> Option<u16> {
        *self.following.get_or_init(|| match self.ask("pgbouncer-following").as_str() {
            "none" => None,
            answer => Some(answer.parse().unwrap_or_else(|_| panic!("{answer}"))),
        })
    }

    fn ask(&self, command: &str) -> String {
        let mut supervisor = self.supervisor.lock().unwrap_or_else(|poison| poison.into_inner());
        writeln!(supervisor.commands.as_mut().unwrap(), "{command}").unwrap();
        supervisor.line()
    }

    /// A new, empty database that belongs to [`OWNER`].
    pub async fn database(&self) -> TestDatabase<'_> {
        let name = format!("test_{}", self.next.fetch_add(1, Ordering::Relaxed));
        self.create(&name, &format!(r#"CREATE DATABASE "{name}" OWNER "{OWNER}""#)).await
    }

    /// A new copy of a database to which nobody is connected.
    pub async fn copy_of(&self, original: &TestDatabase<'_>) -> TestDatabase<'_> {
        let name = format!("test_{}", self.next.fetch_add(1, Ordering::Relaxed));
        let from = original.name();
        self.create(
            &name,
            &format!(r#"CREATE DATABASE "{name}" OWNER "{OWNER}" TEMPLATE "{from}""#),
        )
        .await
    }

    async fn create(&self, name: &str, statement: &str) -> TestDatabase<'_> {
        let ended = std::mem::take(&mut *self.ended.lock().unwrap());
        let mut connection = PgConnection::connect(&self.url(SUPERUSER, "postgres")).await.unwrap();
        for name in ended {
            let drop = format!(r#"DROP DATABASE IF EXISTS "{name}" WITH (FORCE)"#);
            connection.execute(AssertSqlSafe(drop)).await.unwrap();
        }
        connection.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
        connection.close().await.unwrap();
        TestDatabase { cluster: self, name: name.to_owned() }
    }

    fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let supervisor = self.supervisor.get_mut().unwrap_or_else(|poison| poison.into_inner());
        supervisor.commands = None;
        let _ = supervisor.process.wait();
    }
}

impl Supervisor {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

/// The database of one test; dropped when a later test asks for one, or with the server.
#[derive(Debug)]
pub struct TestDatabase<'c> {
    cluster: &'c Cluster,
    name: String,
}

impl TestDatabase<'_> {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL under which `role` reaches the database, without TLS.
    pub fn url(&self, role: &str) -> String {
        self.cluster.url(role, &self.name)
    }

    /// A connection beside the crate.
    pub async fn connect(&self, role: &str) -> PgConnection {
        PgConnection::connect(&self.url(role)).await.unwrap()
    }

    /// A connection that nothing restrains.
    pub async fn superuser(&self) -> PgConnection {
        self.connect(SUPERUSER).await
    }

    /// `180004` for 18.4.
    pub async fn server_version(&self) -> i32 {
        let asked = "SELECT current_setting('server_version_num')::int4";
        sqlx::query_scalar(asked).fetch_one(&mut self.superuser().await).await.unwrap()
    }

    /// Runs statements as `role`, each by itself.
    pub async fn run<S: AsRef<str>>(&self, role: &str, statements: &[S]) {
        let mut connection = self.connect(role).await;
        for statement in statements {
            let statement = statement.as_ref();
            if let Err(error) = connection.execute(AssertSqlSafe(statement.to_owned())).await {
                panic!("{error}\n{statement}");
            }
        }
        connection.close().await.unwrap();
    }
}

impl Drop for TestDatabase<'_> {
    fn drop(&mut self) {
        if let Ok(mut ended) = self.cluster.ended.lock() {
            ended.push(std::mem::take(&mut self.name));
        }
    }
}

/// Where the server's programs are: where `TENANTRY_POSTGRES` says, or the newest of the machine.
pub fn installation() -> PathBuf {
    if let Some(named) = std::env::var_os("TENANTRY_POSTGRES") {
        return newest(vec![named.into()])
            .expect("TENANTRY_POSTGRES names no folder with PostgreSQL 15 or newer");
    }
    let folders = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .chain(
            ["/usr/lib/postgresql", "/usr/libexec", "/usr", "/usr/local/opt", "/opt/homebrew/opt"]
                .iter()
                .filter_map(|folder| std::fs::read_dir(folder).ok())
                .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
                .flat_map(|path| [path.join("bin"), path]),
        )
        .collect();
    newest(folders).unwrap_or_else(|| panic!("{MISSING}"))
}

/// What the suite says on a machine without a server.
pub const MISSING: &str = "PostgreSQL 15 or newer is not installed, and the feature `postgres` is tested against it: `apt-get install postgresql` on Debian; tests/run says what to install elsewhere";

/// The newest installation of version 15 or later.
pub fn newest(mut folders: Vec<PathBuf>) -> Option<PathBuf> {
    folders.retain(|folder| {
        ["initdb", "pg_ctl", "psql"].iter().all(|tool| folder.join(tool).is_file())
    });
    folders.into_iter().max_by_key(|folder| version(folder)).filter(|folder| version(folder) >= 15)
}

/// `initdb (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
pub fn version(folder: &Path) -> u32 {
    let output = Command::new(folder.join("initdb")).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.ok()
        .and_then(|text| {
            text.split(' ').nth(2)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        })
        .unwrap_or(0)
}

/// The server refuses to run as root.
fn leave_root(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return;
    }
    let user = ["postgres", "nobody"]
        .iter()
        .find_map(|user| Some((id(&["-u", user])?, id(&["-g", user])?)));
    let (user, group) = user.expect("PostgreSQL refuses to run as root: add a user `postgres`");
    command.uid(user).gid(group);
}
