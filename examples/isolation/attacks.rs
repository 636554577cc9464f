//! What the attacker tries, and what comes back.
//!
//! Every attack is made twice where that means anything: once at something that the victim has,
//! and once at something that nobody has. If the two answers differ in anything, even in the text
//! of an error, the attacker has learned that the victim has it.

use std::error::Error as _;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use rust_decimal::Decimal;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tenantry::ambient::cross_tenant_authority;
use tenantry::audit::{AuditEvent, AuditKind};
use tenantry::crypto::KeyRing;
use tenantry::query::{Cursor, Insert, Prepared, count};
use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer, ScopeTicket, TicketKey};
use tenantry::{Database, Error, ErrorKind, OrganizationId, Result, TenantScope};

use super::chinook::{Books, Fallible, World, url};
use super::tables::{
    Customer, Genre, Invoice, InvoiceLine, customers, invoice_lines, invoices, schema,
};

/// A number that no organization uses as a key.
const NOBODYS: i64 = 9_999;

static BY_EMAIL: LazyLock<Prepared<Customer, (String,)>> =
    LazyLock::new(|| Customer::prepare(|q, (email,): (_,)| q.filter(customers::email.eq(email))));

/// What came back from one act.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// So many rows, not all of them the attacker's own.
    Rows(usize),
    /// So many rows, each of them the attacker's own.
    OwnRows(usize),
    /// So many rows were updated or deleted.
    Changed(u64),
    /// A row was written, and the attacker reads it back as a row of their own organization.
    OwnRow,
    /// A scope, a list, or anything else that was not to be had.
    Granted(&'static str),
    /// An error.
    Refused(Refusal),
}

/// An error, with everything in it that a caller can see.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    kind: ErrorKind,
    text: String,
    names_a_column: bool,
    /// `Debug`, and every layer of `source()`.
    whole: String,
}

/// What an attack is to come to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Claim {
    NoRows,
    OwnRows,
    /// Own rows, although an index and the predicate agree on a foreign one.
    OwnRowsByPlace,
    NoChange,
    OwnRow,
    Refused(ErrorKind),
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    claim: Claim,
    answer: Answer,
    /// What the same act brought at something that nobody has.
    nowhere: Option<Answer>,
    /// What the audit noted of a `Denied`, which the attacker is not told.
    noted: Option<AuditEvent>,
    /// Whether the victim's rows were as before, right after.
    untouched: bool,
}

impl Attack {
    /// The wall that stopped it, told from what came back; `None` if it was not stopped.
    pub(crate) fn wall(&self) -> Option<String> {
        let wall = match &self.answer {
            Answer::OwnRows(_) if self.claim == Claim::OwnRowsByPlace => {
                "3 database: rows stand under their organization"
            }
            Answer::Rows(0) | Answer::OwnRows(_) | Answer::Changed(0) => {
                "2 query: organization predicate"
            }
            Answer::OwnRow => "3 database: keys begin with the organization",
            Answer::Refused(refusal) => match refusal.kind {
                ErrorKind::Denied => {
                    let noted = self.noted.as_ref()?;
                    let wall = match noted.kind {
                        AuditKind::TicketRefused => "5 cryptography",
                        _ => "1 scope",
                    };
                    return Some(format!("{wall}: {}", noted.detail.as_deref()?));
                }
                ErrorKind::Unconfigured => "1 scope: cross-tenant work is off",
                ErrorKind::Misuse if refusal.text.contains("issuer") => "1 scope: not of this issuer",
                ErrorKind::Misuse => "2 query: refused before it ran",
                ErrorKind::NotFound if refusal.names_a_column => "3 database: composite foreign key",
                ErrorKind::NotFound => "2 query: organization predicate",
                ErrorKind::Incident => "4 witness: row withheld, scope ended",
                ErrorKind::Invalid => "5 cryptography: the cursor does not open",
                _ => return None,
            },
            Answer::Rows(_) | Answer::Changed(_) | Answer::Granted(_) => return None,
        };
        Some(wall.to_owned())
    }

    /// What the attacker saw.
    pub(crate) fn seen(&self) -> String {
        self.answer.to_string()
    }

    /// Whether it looked the same at something that nobody has.
    pub(crate) fn blind(&self) -> Option<bool> {
        self.nowhere.as_ref().map(|nowhere| *nowhere == self.answer)
    }

    pub(crate) fn untouched(&self) -> bool {
        self.untouched
    }

    /// Whether everything held.
    pub(crate) fn held(&self) -> bool {
        let as_claimed = match (&self.answer, self.claim) {
            (Answer::Rows(0), Claim::NoRows)
            | (Answer::OwnRows(_), Claim::OwnRows | Claim::OwnRowsByPlace)
            | (Answer::Changed(0), Claim::NoChange)
            | (Answer::OwnRow, Claim::OwnRow) => true,
            (Answer::Refused(refusal), Claim::Refused(kind)) => refusal.kind == kind,
            _ => false,
        };
        as_claimed && self.wall().is_some() && self.blind() != Some(false) && self.untouched
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(0) => f.write_str("no rows"),
            Self::Rows(rows) => write!(f, "{rows} ROWS, NOT ALL OWN"),
            Self::OwnRows(rows) => write!(f, "own rows alone ({rows})"),
            Self::Changed(rows) => write!(f, "{rows} rows changed"),
            Self::OwnRow => f.write_str("a new row of their own"),
            Self::Granted(what) => write!(f, "GRANTED: {what}"),
            Self::Refused(refusal) => write!(f, "{}: {}", refusal.kind, refusal.text),
        }
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        let mut whole = format!("{error:?}");
        let mut source = error.source();
        while let Some(error) = source {
            whole.push_str(&format!(" <- {error} {error:?}"));
            source = error.source();
        }
        Self::Refused(Refusal {
            kind: error.kind(),
            text: error.to_string(),
            names_a_column: error.column().is_some(),
            whole,
        })
    }
}

/// The answer of an act, or of its failure.
fn answer(outcome: Result<Answer>) -> Answer {
    outcome.unwrap_or_else(Answer::from)
}

/// Rows, against the attacker's own as the Chinook file has them.
fn rows<T: PartialEq>(outcome: Result<Vec<T>>, own: &[T]) -> Answer {
    answer(outcome.map(|rows| {
        if !rows.is_empty() && rows.iter().all(|row| own.contains(row)) {
            Answer::OwnRows(rows.len())
        } else {
            Answer::Rows(rows.len())
        }
    }))
}

fn changed(outcome: Result<u64>) -> Answer {
    answer(outcome.map(Answer::Changed))
}

fn granted<T>(outcome: Result<T>, what: &'static str) -> Answer {
    answer(outcome.map(|_| Answer::Granted(what)))
}

/// Plays every attack.
pub(crate) async fn play(world: &mut World) -> Fallible<Vec<Attack>> {
    let mut stage = Stage { world, attacks: Vec::new() };
    stage.read().await?;
    stage.write().await?;
    stage.enter().await?;
    stage.page().await?;
    stage.outlive_a_suspension().await?;
    stage.damage_the_file().await?;
    Ok(stage.attacks)
}

struct Stage<'w> {
    world: &'w mut World,
    attacks: Vec<Attack>,
}

impl Stage<'_> {
    fn own(&self) -> (&TenantScope, &Database, &Books) {
        (&self.world.attacker.scope, &self.world.db, &self.world.attacker.books)
    }

    /// Takes an attack down, after a look at the victim's rows through the victim's own scope.
    async fn note(
        &mut self,
        name: &'static str,
        claim: Claim,
        answer: Answer,
        nowhere: impl Into<Option<Answer>>,
    ) -> Fallible<()> {
        let victim = &self.world.victim;
        let untouched = Books::of(&victim.scope, &self.world.db).await? == victim.books;
        let noted = self.noted(&answer).await?;
        let nowhere = nowhere.into();
        self.attacks.push(Attack { name, claim, answer, nowhere, noted, untouched });
        Ok(())
    }

    /// What the audit says of the latest refusal.
    async fn noted(&self, answer: &Answer) -> Fallible<Option<AuditEvent>> {
        if !matches!(answer, Answer::Refused(refusal) if refusal.kind == ErrorKind::Denied) {
            return Ok(None);
        }
        self.world.issuer.flush_audit().await?;
        let auditor = cross_tenant_authority("show refusals", Principal::service("auditor"));
        let events = self.world.audit.events_across(&auditor).await?;
        Ok(events
            .into_iter()
            .rfind(|event| matches!(event.kind, AuditKind::ScopeDenied | AuditKind::TicketRefused)))
    }

    async fn read(&mut self) -> Fallible<()> {
        let (a, db, own) = self.own();
        let theirs = last_key(&self.world.victim.books.invoices);
        let beyond = last_key(&own.invoices);
        let email = self.world.victim.books.customers.first().map(|c| c.email.clone());
        let email = email.ok_or("the victim has customers")?;

        let find = async |id| answer(one(Invoice::find(a, id).fetch_one(db).await, &own.invoices));
        let foreign_id = (find(theirs).await, find(NOBODYS).await);
        let shared_id = find(beyond).await;

        let guess = async |keys: Vec<i64>| {
            let found = Invoice::select(a).filter(invoices::id.in_list(keys)).fetch_all(db).await;
            rows(found, &own.invoices)
        };
        let all_keys = (guess((1..=theirs).collect()).await, guess((1..=beyond).collect()).await);
        let stream = async |from| {
            let past = Invoice::select(a).filter(invoices::id.gt(from)).fetch(db);
            rows(past.try_collect::<Vec<_>>().await, &own.invoices)
        };
        let past_own = (stream(beyond).await, stream(NOBODYS).await);
        let offset = async |rows_before| {
            let past = Invoice::select(a).offset(rows_before).limit(50).fetch_all(db).await;
            rows(past, &own.invoices)
        };
        let past_end = (offset(own.invoices.len() as u64).await, offset(9_999).await);

        let sum = async |from| {
            let past = Invoice::select(a).filter(invoices::id.gt(from));
            let sums = past.aggregate((count(), invoices::total.sum())).fetch_one(db).await;
            answer(sums.map(|(n, sum)| match (n, sum) {
                (0, None) => Answer::Rows(0),
                (n, _) => Answer::Rows(usize::try_from(n).unwrap_or(usize::MAX).max(1)),
            }))
        };
        let summed = (sum(beyond).await, sum(NOBODYS).await);

        let by_email = async |email: &str| {
            let found = Customer::select(a).filter(customers::email.eq(email)).fetch_all(db).await;
            rows(found, &own.customers)
        };
        let their_email = (by_email(&email).await, by_email("nobody@example.com").await);
        let quoted = (by_email("x' OR '1'='1").await, by_email("x").await);
        let comment = (
            by_email("x' UNION SELECT * FROM customers --").await,
            by_email("x' UNION SELECT * FROM nothing --").await,
        );
        let either = customers::email.eq("x").or(customers::id.gt(0));
        let plain = rows(Customer::select(a).fetch_all(db).await, &own.customers);
        let or = rows(Customer::select(a).filter(either).fetch_all(db).await, &own.customers);
        let any = customers::email.like("%");
        let like = rows(Customer::select(a).filter(any).fetch_all(db).await, &own.customers);

        let joined = async |email: &str| {
            let pairs = Invoice::select(a).join(invoices::customer_id);
            let pairs = pairs.filter(customers::email.eq(email)).fetch_all(db).await;
            answer(pairs.map(|pairs| Answer::Rows(pairs.len())))
        };
        let join = (joined(&email).await, joined("nobody@example.com").await);
        let referred = async |from| {
            let large = Invoice::select(a).filter(invoices::id.gt(from));
            let with = Customer::select(a).filter(invoices::customer_id.exists_in(large));
            rows(with.fetch_all(db).await, &own.customers)
        };
        let exists = (referred(beyond).await, referred(NOBODYS).await);

        // The victim runs a prepared shape first, so that it is rendered and cached for them.
        let b = &self.world.victim.scope;
        if BY_EMAIL.fetch_all(b, (email.as_str(),), db).await?.len() != 1 {
            return Err("the victim does not find its own customer".into());
        }
        let rerun = async |email: &str| rows(BY_EMAIL.fetch_all(a, (email,), db).await, &own.customers);
        let prepared = (rerun(&email).await, rerun("nobody@example.com").await);

        // Two scopes in one statement, as a helper that was handed the wrong one would have them.
        let theirs_inside = Customer::select(b).columns(customers::id);
        let mixed = Invoice::select(a).filter(invoices::customer_id.in_subquery(theirs_inside));
        let mixed = rows(mixed.fetch_all(db).await, &own.invoices);
        let mut tx = db.begin(b).await?;
        let in_their_tx = changed(InvoiceLine::delete(a).all_rows().execute(&mut tx).await);
        tx.rollback().await?;
        let mut tx = db.begin(a).await?;
        let in_own_tx = rows(Invoice::select(b).fetch_all(&mut tx).await, &own.invoices);
        tx.rollback().await?;

        // The same lists before and after the victim is busy.
        let quiet = self.watch().await?;
        let guest = Customer { id: 700, email: "new@example.com".into(), ..first(&own.customers)? };
        let busy = db.transaction(b, async |tx| {
            Customer::insert(b, guest.clone()).execute(&mut *tx).await?;
            Invoice::update(b).set(invoices::total, Decimal::ONE).all_rows().execute(tx).await
        });
        busy.await?;
        let noisy = self.watch().await?;
        self.restore_victim().await?;
        let same = |seen: &str| if seen == quiet { Answer::OwnRows(own.rows()) } else { Answer::Rows(1) };
        let watched = (same(&noisy), same(&quiet));

        use Claim::{NoRows, OwnRows, Refused};
        let pairs = [
            ("read an invoice of theirs by its id", Refused(ErrorKind::NotFound), foreign_id),
            ("read every id that they may have", OwnRows, all_keys),
            ("stream everything past the own ids", NoRows, past_own),
            ("page past the own end with an offset", NoRows, past_end),
            ("count and sum past the own ids", NoRows, summed),
            ("look for an e-mail address of theirs", NoRows, their_email),
            ("put `x' OR '1'='1` into a value", NoRows, quoted),
            ("put `x' UNION SELECT … --` into a value", NoRows, comment),
            ("join to a customer of theirs", NoRows, join),
            ("ask whether a row of theirs exists", NoRows, exists),
            ("rerun a statement prepared by them", NoRows, prepared),
            ("OR a condition that is always true", OwnRows, (or, plain.clone())),
            ("match everything with `%`", OwnRows, (like, plain)),
            ("watch own lists while they write", OwnRows, watched),
        ];
        for (name, claim, (answer, nowhere)) in pairs {
            self.note(name, claim, answer, nowhere).await?;
        }
        let single = [
            ("read an id that both have", OwnRows, shared_id),
            ("compose a statement of two scopes", Refused(ErrorKind::Misuse), mixed),
            ("run a delete in their transaction", Refused(ErrorKind::Misuse), in_their_tx),
            ("run their read in the own transaction", Refused(ErrorKind::Misuse), in_own_tx),
        ];
        for (name, claim, answer) in single {
            self.note(name, claim, answer, None).await?;
        }
        Ok(())
    }

    /// All that the attacker sees of the own organization: rows in their order, a page, groups.
    async fn watch(&self) -> Fallible<String> {
        let (a, db, _) = self.own();
        let books = Books::of(a, db).await?;
        let newest = Invoice::select(a).order_by(invoices::invoiced_at.desc());
        let page = newest.page(None, 10).fetch(db).await?;
        let groups = Invoice::select(a).group_by(invoices::billing_country);
        let groups = groups.aggregate((count(), invoices::total.sum())).fetch_all(db).await?;
        Ok(format!("{books:?} {:?} {groups:?}", page.rows))
    }

    /// Undoes what the victim did itself.
    async fn restore_victim(&self) -> Result<()> {
        let (b, db) = (&self.world.victim.scope, &self.world.db);
        db.transaction(b, async |tx| {
            Customer::delete(b).key(700).execute(&mut *tx).await?;
            for invoice in &self.world.victim.books.invoices {
                let back = Invoice::update(b).set(invoices::total, invoice.total).key(invoice.id);
                back.execute(&mut *tx).await?;
            }
            Ok(())
        })
        .await
    }

    async fn write(&mut self) -> Fallible<()> {
        let (a, db, own) = self.own();
        let victim = &self.world.victim.books;
        let theirs = last_key(&victim.invoices);
        let (beyond, lines_beyond) = (last_key(&own.invoices), last_key(&own.lines));
        let their_customer = last(&victim.customers)?;
        let me = first(&own.customers)?;
        let my_invoice = first(&own.invoices)?;

        let update = async |id| {
            changed(Invoice::update(a).set(invoices::total, Decimal::ZERO).key(id).execute(db).await)
        };
        let updated = (update(theirs).await, update(NOBODYS).await);
        let update = async |from| {
            let past = Invoice::update(a).set(invoices::billing_city, "Gotham");
            changed(past.filter(invoices::id.gt(from)).execute(db).await)
        };
        let updated_all = (update(beyond).await, update(NOBODYS).await);
        let delete = async |id| changed(InvoiceLine::delete(a).key(id).execute(db).await);
        let deleted = (delete(last_key(&victim.lines)).await, delete(NOBODYS).await);
        let delete = async |from| {
            let past = InvoiceLine::delete(a).filter(invoice_lines::id.gt(from));
            changed(past.execute(db).await)
        };
        let deleted_all = (delete(lines_beyond).await, delete(NOBODYS).await);
        let returned = async |from| {
            let past = InvoiceLine::delete(a).filter(invoice_lines::id.gt(from)).returning();
            rows(past.fetch_all(db).await, &own.lines)
        };
        let returning = (returned(lines_beyond).await, returned(NOBODYS).await);

        let upsert = async |id| {
            let row = Customer { id, email: "mine@example.com".into(), ..me.clone() };
            let all = (customers::first_name, customers::last_name, customers::email);
            let insert = Customer::insert(a, row.clone()).on_conflict(customers::id).update(all);
            answer(self.keep(insert, row).await)
        };
        let upserted = (upsert(their_customer.id).await, upsert(NOBODYS).await);
        let upsert = async |email: &str| {
            let row = Customer { id: 800, email: email.to_owned(), ..me.clone() };
            let name = (customers::first_name, customers::id);
            let insert = Customer::insert(a, row.clone()).on_conflict(customers::email).update(name);
            answer(self.keep(insert, row).await)
        };
        let by_value = (upsert(&their_customer.email).await, upsert("nobody@example.com").await);
        let probe = async |id, email: &str| {
            let row = Customer { id, email: email.to_owned(), ..me.clone() };
            answer(self.keep(Customer::insert(a, row.clone()), row).await)
        };
        let probed = (
            probe(800, &their_customer.email).await,
            probe(800, "nobody@example.com").await,
        );
        let probed_key = (
            probe(their_customer.id, "mine@example.com").await,
            probe(NOBODYS, "mine@example.com").await,
        );

        let attach = async |customer_id| {
            let row = Invoice { id: 800, customer_id, ..my_invoice.clone() };
            changed(Invoice::insert(a, row).execute(db).await)
        };
        let attached = (attach(their_customer.id).await, attach(NOBODYS).await);
        let hang = async |customer_id| {
            let moved = Invoice::update(a).set(invoices::customer_id, customer_id);
            changed(moved.key(my_invoice.id).execute(db).await)
        };
        let hung = (hang(their_customer.id).await, hang(NOBODYS).await);
        let rename = async |to| {
            let row = Customer { id: 800, email: "mine@example.com".into(), ..me.clone() };
            answer(self.rename(row, to).await)
        };
        let renamed = (rename(their_customer.id).await, rename(NOBODYS).await);

        use Claim::{NoChange, NoRows, OwnRow, Refused};
        let pairs = [
            ("update an invoice of theirs by its id", NoChange, updated),
            ("update everything past the own ids", NoChange, updated_all),
            ("delete a line of theirs by its id", NoChange, deleted),
            ("delete everything past the own ids", NoChange, deleted_all),
            ("read what a delete returns", NoRows, returning),
            ("upsert over a customer of theirs", OwnRow, upserted),
            ("upsert over an e-mail address of theirs", OwnRow, by_value),
            ("insert to learn if an e-mail is taken", OwnRow, probed),
            ("insert to learn if an id is taken", OwnRow, probed_key),
            ("change a key to one of theirs", OwnRow, renamed),
            ("invoice a customer of theirs", Refused(ErrorKind::NotFound), attached),
            ("move an own invoice to their customer", Refused(ErrorKind::NotFound), hung),
        ];
        for (name, claim, (answer, nowhere)) in pairs {
            self.note(name, claim, answer, nowhere).await?;
        }
        Ok(())
    }

    /// Runs an insert, looks where the row went, and takes it away again.
    async fn keep(&self, insert: Insert<'_, Customer>, row: Customer) -> Result<Answer> {
        let (a, db, _) = self.own();
        let written = insert.execute(db).await?;
        let found = Customer::find(a, row.id).fetch_optional(db).await?;
        let removed = Customer::delete(a).key(row.id).execute(db).await?;
        let own = written == 1 && removed == 1 && found.as_ref() == Some(&row);
        Ok(if own { Answer::OwnRow } else { Answer::Changed(written.max(1)) })
    }

    /// Writes a row of the attacker's own, gives it another key, and takes it away again.
    async fn rename(&self, row: Customer, to: i64) -> Result<Answer> {
        let (a, db, _) = self.own();
        Customer::insert(a, row.clone()).execute(db).await?;
        let written = Customer::update(a).set(customers::id, to).key(row.id).execute(db).await?;
        let found = Customer::find(a, to).fetch_optional(db).await?;
        let removed = Customer::delete(a).key(to).execute(db).await?;
        let own = written == 1 && removed == 1 && found == Some(Customer { id: to, ..row });
        Ok(if own { Answer::OwnRow } else { Answer::Changed(written.max(1)) })
    }

    async fn enter(&mut self) -> Fallible<()> {
        use Claim::Refused;
        let steve = self.world.attacker.principal.clone();
        let theirs = self.world.victim.organization.clone();
        let nobodys = OrganizationId::new();
        let issuer = self.world.issuer.clone();
        let denied = Refused(ErrorKind::Denied);

        let nowhere = granted(issuer.enter(&steve, &nobodys).await, "a scope");
        let aimed = granted(issuer.enter(&steve, &theirs).await, "a scope");
        self.note("enter their organization", denied, aimed, nowhere).await?;

        // An issuer of the attacker's own, with a Directory that says whatever they like.
        let lie = MemoryDirectory::new();
        lie.add_member(&theirs, &steve, Role::Owner);
        lie.add_member(&nobodys, &steve, Role::Owner);
        let forger = ScopeIssuer::new(lie);
        let db = self.world.db.clone();
        let forged = forger.enter(&steve, &theirs).await?;
        let aimed = rows(Invoice::select(&forged).fetch_all(&db).await, &[]);
        let nowhere = forger.enter(&steve, &nobodys).await?;
        let nowhere = rows(Invoice::select(&nowhere).fetch_all(&db).await, &[]);
        let misuse = Refused(ErrorKind::Misuse);
        self.note("use a scope of an issuer of one's own", misuse, aimed, nowhere).await?;

        let key = TicketKey::new("export", KeyRing::random()?)?;
        let hour = Duration::from_secs(3_600);
        let (mine, payload) = (b"export of Steve Johnson", b"export of Jane Peacock");
        let redeem = async |ticket: String, payload: &[u8]| {
            granted(issuer.redeem(&ScopeTicket::from(ticket), &key, payload).await, "a scope")
        };
        let nonsense = redeem("nonsense".to_owned(), payload).await;
        let forged_key = TicketKey::new("export", KeyRing::random()?)?;
        let ticket = forged.ticket(&forged_key, hour, payload)?;
        let aimed = redeem(ticket.as_str().to_owned(), payload).await;
        self.note("forge a ticket for their job", denied, aimed, nonsense.clone()).await?;
        let ticket = self.world.attacker.scope.ticket(&key, hour, mine)?;
        let aimed = redeem(edited(ticket.as_str()), mine).await;
        self.note("edit an own ticket", denied, aimed, nonsense.clone()).await?;
        let aimed = redeem(ticket.as_str().to_owned(), payload).await;
        self.note("use an own ticket for their job", denied, aimed, nonsense).await?;

        let authority = cross_tenant_authority("because I can", steve);
        let aimed = granted(Invoice::select_across(&authority).fetch_all(&db).await, "every row");
        let unconfigured = Refused(ErrorKind::Unconfigured);
        self.note("read across all organizations", unconfigured, aimed, None).await?;
        let deletion = Genre::delete_global(&authority).all_rows().execute(&db).await;
        self.note("delete what all organizations share", unconfigured, changed(deletion), None).await
    }

    async fn page(&mut self) -> Fallible<()> {
        let (a, db, own) = self.own();
        let newest = async |scope: &TenantScope, cursor: Option<Cursor>| {
            let newest = Invoice::select(scope).order_by(invoices::invoiced_at.desc());
            newest.page(cursor, 10).fetch(db).await
        };
        let theirs = newest(&self.world.victim.scope, None).await?.next.ok_or("they have two pages")?;
        let mine = newest(a, None).await?.next.ok_or("there are two pages")?;
        let with = async |cursor: Option<Cursor>| {
            rows(newest(a, cursor).await.map(|page| page.rows), &own.invoices)
        };
        let nonsense = with(Some(Cursor::from_str("nonsense")?)).await;
        let foreign = with(Some(theirs)).await;
        let tampered = with(Some(Cursor::from_str(&edited(&mine.to_string()))?)).await;
        let elsewhere = Invoice::select(a).page(Some(mine.clone()), 10).fetch(db).await;
        let elsewhere = rows(elsewhere.map(|page| page.rows), &own.invoices);
        let next = with(Some(mine)).await;
        if next != Answer::OwnRows(10) {
            return Err(format!("an honest cursor fails: {next}").into());
        }
        let invalid = Claim::Refused(ErrorKind::Invalid);
        self.note("go on with a cursor of theirs", invalid, foreign, nonsense.clone()).await?;
        self.note("go on with an edited cursor", invalid, tampered, nonsense.clone()).await?;
        self.note("use a cursor with another query", invalid, elsewhere, nonsense).await
    }

    async fn outlive_a_suspension(&mut self) -> Fallible<()> {
        let denied = Claim::Refused(ErrorKind::Denied);
        let issuer = self.world.issuer.clone();
        let db = self.world.db.clone();
        let (organization, member) =
            (self.world.bystander.organization.clone(), self.world.bystander.principal.clone());
        issuer.suspend(&organization);
        let kept = rows(Invoice::select(&self.world.bystander.scope).fetch_all(&db).await, &[]);
        self.note("use a scope kept from before a suspension", denied, kept, None).await?;
        let nowhere = granted(issuer.enter(&member, OrganizationId::new()).await, "a scope");
        let aimed = granted(issuer.enter(&member, &organization).await, "a scope");
        self.note("enter a suspended organization", denied, aimed, nowhere).await?;
        issuer.resume(&organization);
        self.world.bystander.scope = issuer.enter(&member, &organization).await?;
        Ok(())
    }

    /// Somebody with the file itself, on copies of it: what the database answers is then wrong.
    async fn damage_the_file(&mut self) -> Fallible<()> {
        let incident = Claim::Refused(ErrorKind::Incident);
        let (copy, _) = self.copy("edited.sqlite").await?;
        let answer = self.edited_page(&copy).await?;
        self.note("file edited: their row among the own", incident, answer, None).await?;
        let stale = self.stale_index("stale.sqlite", true).await?;
        let fresh = self.stale_index("fresh.sqlite", false).await?;
        if !stale_index_fools_a_rowid_table().await? {
            return Err("the trick with the index does not work, so it shows nothing".into());
        }
        let claim = Claim::OwnRowsByPlace;
        self.note("file edited: stale index to their row", claim, stale, fresh).await
    }

    /// A copy of the database, with a raw connection that knows no walls.
    async fn copy(&self, name: &str) -> Fallible<(PathBuf, SqliteConnection)> {
        let copy = self.world.dir.path().join(name);
        let options = SqliteConnectOptions::new().filename(&self.world.file);
        let mut source = options.connect().await?;
        let target = copy.to_string_lossy().into_owned();
        sqlx::query("VACUUM INTO ?").bind(target).execute(&mut source).await?;
        source.close().await?;
        let options = SqliteConnectOptions::new().filename(&copy).foreign_keys(false);
        Ok((copy, options.connect().await?))
    }

    /// Opens a copy for the attacker, under an issuer of the copy: an incident ends the scopes of
    /// an issuer, and the play goes on.
    async fn open(&self, file: &Path) -> Result<(Database, TenantScope)> {
        let issuer = ScopeIssuer::new(self.world.directory.clone());
        let db = Database::builder().issuer(&issuer).connect(&url(file), schema()).await?;
        let attacker = &self.world.attacker;
        let scope = issuer.enter(&attacker.principal, &attacker.organization).await?;
        Ok((db, scope))
    }

    /// Writes the victim's id over the attacker's in one stored row, so that a row of the victim
    /// stands among the attacker's; one row after the other, until a scan comes across it.
    async fn edited_page(&self, file: &Path) -> Fallible<Answer> {
        let (_, _, own) = self.own();
        let (mine, theirs) =
            (bytes_of(&self.world.attacker.organization)?, bytes_of(&self.world.victim.organization)?);
        let intact = std::fs::read(file)?;
        let mut latest = Answer::Rows(0);
        for customer in own.customers.iter().skip(1) {
            let mut row = mine.clone();
            row.push(u8::try_from(customer.id)?);
            row.extend_from_slice(customer.first_name.as_bytes());
            let at = intact.windows(row.len()).position(|bytes| bytes == row);
            let at = at.ok_or("the row is not in the file as it was expected")?;
            let mut edited = intact.clone();
            edited.splice(at..at + theirs.len(), theirs.iter().copied());
            std::fs::write(file, edited)?;
            let (db, scope) = self.open(file).await?;
            latest = rows(Customer::select(&scope).fetch_all(&db).await, &own.customers);
            if !matches!(latest, Answer::OwnRows(_)) {
                // And the attacker's scope has ended.
                let after = Customer::select(&scope).count(&db).await.map_err(|error| error.kind());
                if after != Err(ErrorKind::Denied) {
                    return Ok(Answer::Granted("a scope that goes on after an incident"));
                }
                break;
            }
        }
        Ok(latest)
    }

    /// Hands an invoice of the attacker over to the victim behind the back of an index, which goes
    /// on saying that it is the attacker's; or, for comparison, deletes it in good order.
    async fn stale_index(&self, name: &str, stale: bool) -> Fallible<Answer> {
        let (_, _, own) = self.own();
        let (mine, theirs) =
            (bytes_of(&self.world.attacker.organization)?, bytes_of(&self.world.victim.organization)?);
        let moved = first(&own.invoices)?;
        let (file, mut raw) = self.copy(name).await?;
        if stale {
            let index = Hidden::index_of(&mut raw, "invoices_customer_id_idx").await?;
            let hand_over = "UPDATE invoices SET organization_id = ?, id = 800 \
                             WHERE organization_id = ? AND id = ?";
            let hand_over = sqlx::query(hand_over).bind(theirs).bind(mine).bind(moved.id);
            hand_over.execute(&mut raw).await?;
            index.restore(&mut raw).await?;
        } else {
            let delete = "DELETE FROM invoices WHERE organization_id = ? AND id = ?";
            sqlx::query(delete).bind(mine).bind(moved.id).execute(&mut raw).await?;
        }
        raw.close().await?;
        let found = async {
            let (db, scope) = self.open(&file).await?;
            let of = invoices::customer_id.eq(moved.customer_id);
            Invoice::select(&scope).filter(of).fetch_all(&db).await
        };
        Ok(rows(found.await, &own.invoices))
    }
}

/// An index that the schema does not mention for a while, so that writes pass it by.
struct Hidden {
    name: &'static str,
    table: String,
    root: i64,
    sql: String,
}

impl Hidden {
    async fn index_of(raw: &mut SqliteConnection, name: &'static str) -> Fallible<Self> {
        let found = "SELECT tbl_name, rootpage, sql FROM sqlite_schema WHERE name = ?";
        let (table, root, sql) = sqlx::query_as(found).bind(name).fetch_one(&mut *raw).await?;
        sqlx::raw_sql("PRAGMA writable_schema = ON").execute(&mut *raw).await?;
        let hide = sqlx::query("DELETE FROM sqlite_schema WHERE name = ?").bind(name);
        hide.execute(&mut *raw).await?;
        sqlx::raw_sql("PRAGMA writable_schema = RESET").execute(raw).await?;
        Ok(Self { name, table, root, sql })
    }

    async fn restore(self, raw: &mut SqliteConnection) -> Fallible<()> {
        let Self { name, table, root, sql } = self;
        sqlx::raw_sql("PRAGMA writable_schema = ON").execute(&mut *raw).await?;
        let restore = "INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) \
                       VALUES ('index', ?, ?, ?, ?)";
        let restore = sqlx::query(restore).bind(name).bind(table).bind(root).bind(sql);
        restore.execute(&mut *raw).await?;
        sqlx::raw_sql("PRAGMA writable_schema = RESET").execute(raw).await?;
        Ok(())
    }
}

/// The same trick on an ordinary table with a flawless hand-written predicate: the index says that
/// row 1 is A's, and the row that comes back, labelled A, is B's.
async fn stale_index_fools_a_rowid_table() -> Fallible<bool> {
    let mut raw = SqliteConnection::connect("sqlite::memory:").await?;
    let create = "CREATE TABLE notes (id INTEGER PRIMARY KEY, organization TEXT, page INTEGER, note TEXT); \
                  CREATE INDEX notes_page ON notes (organization, page); \
                  INSERT INTO notes VALUES (1, 'A', 7, 'of A'), (2, 'B', 7, 'of B');";
    sqlx::raw_sql(create).execute(&mut raw).await?;
    let index = Hidden::index_of(&mut raw, "notes_page").await?;
    let hand_over = "UPDATE notes SET organization = 'B', note = 'of B' WHERE id = 1";
    sqlx::raw_sql(hand_over).execute(&mut raw).await?;
    index.restore(&mut raw).await?;
    let read = "SELECT organization, note FROM notes WHERE organization = 'A' AND page = 7";
    let found = sqlx::query_as::<_, (String, String)>(read).fetch_all(&mut raw).await?;
    Ok(found == [("A".to_owned(), "of B".to_owned())])
}

/// One row, as rows.
fn one<T: PartialEq>(outcome: Result<T>, own: &[T]) -> Result<Answer> {
    outcome.map(|row| rows(Ok(vec![row]), own))
}

/// A text with its middle character exchanged.
fn edited(text: &str) -> String {
    let middle = text.len() / 2;
    let exchange = |(at, c)| if at == middle { if c == 'A' { 'B' } else { 'A' } } else { c };
    text.chars().enumerate().map(exchange).collect()
}

/// The organization as SQLite stores it.
fn bytes_of(organization: &OrganizationId) -> Fallible<Vec<u8>> {
    Ok(uuid::Uuid::from_str(&organization.to_string())?.as_bytes().to_vec())
}

/// Rows with a number for a key.
trait Keyed {
    fn key(&self) -> i64;
}

impl Keyed for Invoice {
    fn key(&self) -> i64 {
        self.id
    }
}

impl Keyed for InvoiceLine {
    fn key(&self) -> i64 {
        self.id
    }
}

fn last_key<T: Keyed>(rows: &[T]) -> i64 {
    rows.iter().map(Keyed::key).max().unwrap_or_default()
}

fn first<T: Clone>(rows: &[T]) -> Fallible<T> {
    Ok(rows.first().ok_or("no rows")?.clone())
}

fn last<T: Clone>(rows: &[T]) -> Fallible<T> {
    Ok(rows.last().ok_or("no rows")?.clone())
}
