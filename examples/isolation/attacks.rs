//! What the attacker tries, and what comes back.
//!
//! Every attack is made twice where that means anything: once at something that the victim has,
//! and once at something that nobody has. If the two answers differ in anything, even in the text
//! of an error, the attacker has learned that the victim has it.

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
use tenantry::{Database, ErrorKind, OrganizationId, Result, TenantScope};

use super::answer::{Answer, Attack, Claim, answer, changed, granted, rows};
use super::chinook::{Books, Fallible, World, url};
use super::tables::{
    Customer, Genre, Invoice, InvoiceLine, customers, invoice_lines, invoices, schema,
};

/// A number that no organization uses as a key.
const NOBODYS: i64 = 9_999;

static BY_EMAIL: LazyLock<Prepared<Customer, (String,)>> =
    LazyLock::new(|| Customer::prepare(|q, (email,): (_,)| q.filter(customers::email.eq(email))));

/// Plays every attack; those that were made before an error are in `attacks` too.
pub(crate) async fn play(world: &mut World, attacks: &mut Vec<Attack>) -> Fallible<()> {
    let mut stage = Stage { world, attacks, looked: 0, seen: None };
    stage.read().await?;
    stage.compose().await?;
    stage.write().await?;
    stage.enter().await?;
    stage.page().await?;
    stage.outlive_a_suspension().await?;
    stage.damage_the_file().await?;
    // The suspension ended the bystander's scope for good.
    let bystander = &mut world.bystander;
    bystander.scope = world.issuer.enter(&bystander.principal, &bystander.organization).await?;
    Ok(())
}

struct Stage<'w> {
    world: &'w World,
    attacks: &'w mut Vec<Attack>,
    /// How many attacks there were at the last look at the victim's rows, and what they were.
    looked: usize,
    seen: Option<Books>,
}

impl<'w> Stage<'w> {
    /// What the attacker has: a scope, the application's database, the own rows.
    fn own(&self) -> (&'w TenantScope, &'w Database, &'w Books) {
        let attacker = &self.world.attacker;
        (&attacker.scope, &self.world.db, &attacker.books)
    }

    /// Takes down an act whose like means nothing elsewhere.
    async fn alone(&mut self, name: &'static str, claim: Claim, answer: Answer) -> Fallible<()> {
        let noted = self.noted(&answer).await?;
        let attack = Attack { name, claim, answer, nowhere: None, noted, untouched: true };
        self.attacks.push(attack);
        Ok(())
    }

    /// Takes down an act, and the same act at something that nobody has.
    async fn blind(
        &mut self,
        name: &'static str,
        claim: Claim,
        answer: Answer,
        nowhere: Answer,
    ) -> Fallible<()> {
        self.alone(name, claim, answer).await?;
        if let Some(attack) = self.attacks.last_mut() {
            attack.nowhere = Some(nowhere);
        }
        Ok(())
    }

    /// Looks at the victim's rows, through the victim's own scope.
    async fn look(&mut self) -> Fallible<()> {
        let victim = &self.world.victim;
        let books = Books::of(&victim.scope, &self.world.db).await?;
        let untouched = books == *self.seen.as_ref().unwrap_or(&victim.books);
        for attack in self.attacks.iter_mut().skip(self.looked) {
            attack.untouched = untouched;
        }
        self.looked = self.attacks.len();
        self.seen = Some(books);
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
        use Claim::{NoRows, OwnRows, Refused};
        let (a, db, own) = self.own();
        let theirs = last_key(&self.world.victim.books.invoices);
        let mine = last_key(&own.invoices);
        let email = first(&self.world.victim.books.customers)?.email;
        let nobodys_email = "nobody@example.com";

        let find = async |id| answer(one(Invoice::find(a, id).fetch_one(db).await, &own.invoices));
        let (aimed, nowhere) = (find(theirs).await, find(NOBODYS).await);
        let not_found = Refused(ErrorKind::NotFound);
        self.blind("read an invoice of theirs by its id", not_found, aimed, nowhere).await?;
        self.alone("read an id that both have", OwnRows, find(mine).await).await?;

        let guess = async |keys: Vec<i64>| {
            let found = Invoice::select(a).filter(invoices::id.in_list(keys)).fetch_all(db).await;
            rows(found, &own.invoices)
        };
        let (aimed, nowhere) =
            (guess((1..=theirs).collect()).await, guess((1..=mine).collect()).await);
        self.blind("read every id that they may have", OwnRows, aimed, nowhere).await?;

        let stream = async |from| {
            let past = Invoice::select(a).filter(invoices::id.gt(from)).fetch(db);
            rows(past.try_collect::<Vec<_>>().await, &own.invoices)
        };
        let (aimed, nowhere) = (stream(mine).await, stream(NOBODYS).await);
        self.blind("stream everything past the own ids", NoRows, aimed, nowhere).await?;

        let skip = async |rows_before| {
            let past = Invoice::select(a).offset(rows_before).limit(50).fetch_all(db).await;
            rows(past, &own.invoices)
        };
        let (aimed, nowhere) = (skip(own.invoices.len() as u64).await, skip(9_999).await);
        self.blind("skip past the own rows with an offset", NoRows, aimed, nowhere).await?;

        let sum = async |from| {
            let past = Invoice::select(a).filter(invoices::id.gt(from));
            let sums = past.aggregate((count(), invoices::total.sum())).fetch_one(db).await;
            answer(sums.map(|sums| Answer::Rows(usize::from(sums != (0, None)))))
        };
        let (aimed, nowhere) = (sum(mine).await, sum(NOBODYS).await);
        self.blind("count and sum past the own ids", NoRows, aimed, nowhere).await?;

        let by_email = async |email: &str| {
            let found = Customer::select(a).filter(customers::email.eq(email)).fetch_all(db).await;
            rows(found, &own.customers)
        };
        let (aimed, nowhere) = (by_email(&email).await, by_email(nobodys_email).await);
        self.blind("look for an e-mail address of theirs", NoRows, aimed, nowhere).await?;
        let (aimed, nowhere) = (by_email("x' OR '1'='1").await, by_email(nobodys_email).await);
        self.blind("put `x' OR '1'='1` into a value", NoRows, aimed, nowhere.clone()).await?;
        let aimed = by_email("x' UNION SELECT * FROM customers --").await;
        self.blind("put `x' UNION SELECT … --` into a value", NoRows, aimed, nowhere).await?;

        let plain = rows(Customer::select(a).fetch_all(db).await, &own.customers);
        let filtered = async |filter| {
            rows(Customer::select(a).filter(filter).fetch_all(db).await, &own.customers)
        };
        let aimed = filtered(customers::email.eq("x").or(customers::id.gt(0))).await;
        self.blind("OR a condition that is always true", OwnRows, aimed, plain.clone()).await?;
        let aimed = filtered(customers::email.like("%")).await;
        self.blind("match everything with `%`", OwnRows, aimed, plain).await?;

        let join = async |email: &str| {
            let pairs = Invoice::select(a).join(invoices::customer_id);
            let pairs = pairs.filter(customers::email.eq(email)).fetch_all(db).await;
            answer(pairs.map(|pairs| Answer::Rows(pairs.len())))
        };
        let (aimed, nowhere) = (join(&email).await, join(nobodys_email).await);
        self.blind("join to a customer of theirs", NoRows, aimed, nowhere).await?;

        let referred = async |from| {
            let past = Invoice::select(a).filter(invoices::id.gt(from));
            let with = Customer::select(a).filter(invoices::customer_id.exists_in(past));
            rows(with.fetch_all(db).await, &own.customers)
        };
        let (aimed, nowhere) = (referred(mine).await, referred(NOBODYS).await);
        self.blind("ask in a subquery whether theirs exist", NoRows, aimed, nowhere).await?;

        // They run it first, so that it is rendered and cached for them.
        let b = &self.world.victim.scope;
        if BY_EMAIL.fetch_all(b, (email.as_str(),), db).await?.len() != 1 {
            return Err("the victim does not find its own customer".into());
        }
        let rerun =
            async |email: &str| rows(BY_EMAIL.fetch_all(a, (email,), db).await, &own.customers);
        let (aimed, nowhere) = (rerun(&email).await, rerun(nobodys_email).await);
        self.blind("rerun a statement prepared by them", NoRows, aimed, nowhere).await?;

        // All lists before and after they were busy.
        let quiet = self.watch().await?;
        let guest = Customer { id: 700, email: "new@example.com".into(), ..first(&own.customers)? };
        db.transaction(b, async |tx| {
            Customer::insert(b, guest.clone()).execute(&mut *tx).await?;
            Invoice::update(b).set(invoices::total, Decimal::ONE).all_rows().execute(tx).await
        })
        .await?;
        let noisy = self.watch().await?;
        self.restore_victim().await?;
        let own_rows = Answer::OwnRows(own.rows());
        let aimed = if noisy == quiet { own_rows.clone() } else { Answer::Rows(own.rows()) };
        self.blind("watch the own lists while they write", OwnRows, aimed, own_rows).await?;
        self.look().await
    }

    /// Two scopes in one statement, as a helper that was handed the wrong one would have them.
    async fn compose(&mut self) -> Fallible<()> {
        let (a, db, own) = self.own();
        let b = &self.world.victim.scope;
        let misuse = Claim::Refused(ErrorKind::Misuse);

        let theirs = Customer::select(b).columns(customers::id);
        let mixed = Invoice::select(a).filter(invoices::customer_id.in_subquery(theirs));
        let mixed = rows(mixed.fetch_all(db).await, &own.invoices);
        self.alone("compose a statement of two scopes", misuse, mixed).await?;

        let mut tx = db.begin(b).await?;
        let deleted = changed(InvoiceLine::delete(a).all_rows().execute(&mut tx).await);
        tx.rollback().await?;
        self.alone("run a delete in their transaction", misuse, deleted).await?;

        let mut tx = db.begin(a).await?;
        let read = rows(Invoice::select(b).fetch_all(&mut tx).await, &own.invoices);
        tx.rollback().await?;
        self.alone("run their read in the own transaction", misuse, read).await?;
        self.look().await
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
        use Claim::{NoChange, NoRows, OwnRow, Refused};
        let (a, db, own) = self.own();
        let victim = &self.world.victim.books;
        let their_customer = last(&victim.customers)?;
        let (their_invoice, their_line) = (last_key(&victim.invoices), last_key(&victim.lines));
        let (my_invoices, my_lines) = (last_key(&own.invoices), last_key(&own.lines));
        let (me, my_invoice) = (first(&own.customers)?, first(&own.invoices)?);
        let (my_email, nobodys_email) = ("mine@example.com", "nobody@example.com");

        let update = async |id| {
            let update = Invoice::update(a).set(invoices::total, Decimal::ZERO).key(id);
            changed(update.execute(db).await)
        };
        let (aimed, nowhere) = (update(their_invoice).await, update(NOBODYS).await);
        self.blind("update an invoice of theirs by its id", NoChange, aimed, nowhere).await?;
        self.look().await?;

        let update = async |from| {
            let past = Invoice::update(a).set(invoices::billing_city, "Gotham");
            changed(past.filter(invoices::id.gt(from)).execute(db).await)
        };
        let (aimed, nowhere) = (update(my_invoices).await, update(NOBODYS).await);
        self.blind("update everything past the own ids", NoChange, aimed, nowhere).await?;
        self.look().await?;

        let delete = async |id| changed(InvoiceLine::delete(a).key(id).execute(db).await);
        let (aimed, nowhere) = (delete(their_line).await, delete(NOBODYS).await);
        self.blind("delete a line of theirs by its id", NoChange, aimed, nowhere).await?;
        self.look().await?;

        let delete = async |from| {
            let past = InvoiceLine::delete(a).filter(invoice_lines::id.gt(from)).returning();
            rows(past.fetch_all(db).await, &own.lines)
        };
        let (aimed, nowhere) = (delete(my_lines).await, delete(NOBODYS).await);
        self.blind("delete, and read what that returns", NoRows, aimed, nowhere).await?;
        self.look().await?;

        let upsert = async |id| {
            let row = Customer { id, email: my_email.into(), ..me.clone() };
            let all = (customers::first_name, customers::last_name, customers::email);
            let insert = Customer::insert(a, row.clone()).on_conflict(customers::id).update(all);
            answer(keep((a, db), insert, row).await)
        };
        let (aimed, nowhere) = (upsert(their_customer.id).await, upsert(NOBODYS).await);
        self.blind("upsert over a customer of theirs", OwnRow, aimed, nowhere).await?;
        self.look().await?;

        let upsert = async |email: &str| {
            let row = Customer { id: 800, email: email.to_owned(), ..me.clone() };
            let some = (customers::id, customers::first_name);
            let insert =
                Customer::insert(a, row.clone()).on_conflict(customers::email).update(some);
            answer(keep((a, db), insert, row).await)
        };
        let (aimed, nowhere) = (upsert(&their_customer.email).await, upsert(nobodys_email).await);
        self.blind("upsert over an e-mail address of theirs", OwnRow, aimed, nowhere).await?;
        self.look().await?;

        let probe = async |id, email: &str| {
            let row = Customer { id, email: email.to_owned(), ..me.clone() };
            answer(keep((a, db), Customer::insert(a, row.clone()), row).await)
        };
        let (aimed, nowhere) =
            (probe(800, &their_customer.email).await, probe(800, nobodys_email).await);
        self.blind("insert to learn if an e-mail is taken", OwnRow, aimed, nowhere).await?;
        let (aimed, nowhere) =
            (probe(their_customer.id, my_email).await, probe(NOBODYS, my_email).await);
        self.blind("insert to learn if an id is taken", OwnRow, aimed, nowhere).await?;
        self.look().await?;

        let rename = async |to| {
            let row = Customer { id: 800, email: my_email.into(), ..me.clone() };
            answer(rename((a, db), row, to).await)
        };
        let (aimed, nowhere) = (rename(their_customer.id).await, rename(NOBODYS).await);
        self.blind("change a key to one of theirs", OwnRow, aimed, nowhere).await?;
        self.look().await?;

        let not_found = Refused(ErrorKind::NotFound);
        let attach = async |customer_id| {
            let row = Invoice { id: 800, customer_id, ..my_invoice.clone() };
            changed(Invoice::insert(a, row).execute(db).await)
        };
        let (aimed, nowhere) = (attach(their_customer.id).await, attach(NOBODYS).await);
        self.blind("write an invoice for their customer", not_found, aimed, nowhere).await?;
        let hand = async |customer_id| {
            let handed = Invoice::update(a).set(invoices::customer_id, customer_id);
            changed(handed.key(my_invoice.id).execute(db).await)
        };
        let (aimed, nowhere) = (hand(their_customer.id).await, hand(NOBODYS).await);
        self.blind("hand an invoice to their customer", not_found, aimed, nowhere).await?;
        self.look().await
    }

    async fn enter(&mut self) -> Fallible<()> {
        let World { db, issuer, attacker, victim, .. } = self.world;
        let (steve, theirs, nobodys) =
            (&attacker.principal, &victim.organization, &OrganizationId::new());
        let denied = Claim::Refused(ErrorKind::Denied);

        let enter =
            async |organization| granted(issuer.enter(steve, organization).await, "a scope");
        let (nowhere, aimed) = (enter(nobodys).await, enter(theirs).await);
        self.blind("enter their organization", denied, aimed, nowhere).await?;

        // An issuer of the attacker's own, whose Directory says what the attacker likes.
        let lie = MemoryDirectory::new();
        lie.add_member(theirs, steve, Role::Owner);
        lie.add_member(nobodys, steve, Role::Owner);
        let forger = ScopeIssuer::new(lie);
        let (forged, nowhere) =
            (forger.enter(steve, theirs).await?, forger.enter(steve, nobodys).await?);
        let aimed = rows(Invoice::select(&forged).fetch_all(db).await, &[]);
        let nowhere = rows(Invoice::select(&nowhere).fetch_all(db).await, &[]);
        let misuse = Claim::Refused(ErrorKind::Misuse);
        self.blind("use a scope of an issuer of one's own", misuse, aimed, nowhere).await?;

        let key = TicketKey::new("export", KeyRing::random()?)?;
        let (hour, mine, job) = (Duration::from_secs(3_600), b"export of Steve", b"export of Jane");
        let redeem = async |ticket: &str, job: &[u8]| {
            let ticket = ScopeTicket::from(ticket.to_owned());
            granted(issuer.redeem(&ticket, &key, job).await, "a scope")
        };
        let ticket = attacker.scope.ticket(&key, hour, mine)?;
        if redeem(ticket.as_str(), mine).await != Answer::Granted("a scope") {
            return Err("an honest ticket does not open".into());
        }
        let nonsense = redeem("nonsense", job).await;
        let forged = forged.ticket(&TicketKey::new("export", KeyRing::random()?)?, hour, job)?;
        let aimed = redeem(forged.as_str(), job).await;
        self.blind("forge a ticket for their job", denied, aimed, nonsense.clone()).await?;
        let aimed = redeem(&edited(ticket.as_str()), mine).await;
        self.blind("edit an own ticket", denied, aimed, nonsense.clone()).await?;
        let aimed = redeem(ticket.as_str(), job).await;
        self.blind("use an own ticket for their job", denied, aimed, nonsense).await?;

        let authority = cross_tenant_authority("because I can", steve.clone());
        let unconfigured = Claim::Refused(ErrorKind::Unconfigured);
        let aimed = granted(Invoice::select_across(&authority).fetch_all(db).await, "every row");
        self.alone("read across all organizations", unconfigured, aimed).await?;
        let deleted = changed(Genre::delete_global(&authority).all_rows().execute(db).await);
        self.alone("delete what all organizations share", unconfigured, deleted).await?;
        self.look().await
    }

    async fn page(&mut self) -> Fallible<()> {
        let (a, db, own) = self.own();
        let newest = async |scope: &TenantScope, cursor: Option<Cursor>| {
            let newest = Invoice::select(scope).order_by(invoices::invoiced_at.desc());
            newest.page(cursor, 10).fetch(db).await
        };
        let theirs =
            newest(&self.world.victim.scope, None).await?.next.ok_or("they have two pages")?;
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
        self.blind("go on with a cursor of theirs", invalid, foreign, nonsense.clone()).await?;
        self.blind("go on with an edited cursor", invalid, tampered, nonsense.clone()).await?;
        self.blind("use a cursor with another query", invalid, elsewhere, nonsense).await
    }

    async fn outlive_a_suspension(&mut self) -> Fallible<()> {
        let denied = Claim::Refused(ErrorKind::Denied);
        let World { db, issuer, bystander, .. } = self.world;
        let (member, organization) = (&bystander.principal, &bystander.organization);
        issuer.suspend(organization);
        let kept = rows(Invoice::select(&bystander.scope).fetch_all(db).await, &[]);
        self.alone("use a scope kept from before a suspension", denied, kept).await?;
        let nowhere = granted(issuer.enter(member, OrganizationId::new()).await, "a scope");
        let aimed = granted(issuer.enter(member, organization).await, "a scope");
        self.blind("enter a suspended organization", denied, aimed, nowhere).await?;
        issuer.resume(organization);
        let kept = rows(Invoice::select(&bystander.scope).fetch_all(db).await, &[]);
        self.alone("use it after the suspension", denied, kept).await
    }

    /// Somebody with the file itself, on copies of it: what the database answers is then wrong.
    async fn damage_the_file(&mut self) -> Fallible<()> {
        let incident = Claim::Refused(ErrorKind::Incident);
        let (copy, _) = self.copy("edited.sqlite").await?;
        let answer = self.edited_page(&copy).await?;
        self.alone("file edited: their row among the own", incident, answer).await?;
        let stale = self.stale_index("stale.sqlite", true).await?;
        let fresh = self.stale_index("fresh.sqlite", false).await?;
        if !stale_index_fools_a_rowid_table().await? {
            return Err("the trick with the index does not work, so it shows nothing".into());
        }
        let claim = Claim::OwnRowsByPlace;
        self.blind("file edited: stale index to their row", claim, stale, fresh).await
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
        let (mine, theirs) = (
            bytes_of(&self.world.attacker.organization)?,
            bytes_of(&self.world.victim.organization)?,
        );
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
            match &latest {
                Answer::OwnRows(_) => {}
                Answer::Refused(refusal) if refusal.kind == ErrorKind::Incident => {
                    let after = Customer::select(&scope).count(&db).await;
                    let ended = after.is_err_and(|error| error.kind() == ErrorKind::Denied);
                    let going_on = Answer::Granted("a scope that goes on after an incident");
                    return Ok(if ended { latest } else { going_on });
                }
                _ => break,
            }
        }
        Ok(latest)
    }

    /// Hands an invoice of the attacker over to the victim behind the back of an index, which goes
    /// on saying that it is the attacker's; or, for comparison, deletes it in good order.
    async fn stale_index(&self, name: &str, stale: bool) -> Fallible<Answer> {
        let (_, _, own) = self.own();
        let (mine, theirs) = (
            bytes_of(&self.world.attacker.organization)?,
            bytes_of(&self.world.victim.organization)?,
        );
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

/// Runs an insert, looks where the row went, and takes it away again.
async fn keep(
    (a, db): (&TenantScope, &Database),
    insert: Insert<'_, Customer>,
    row: Customer,
) -> Result<Answer> {
    let written = insert.execute(db).await?;
    let found = Customer::find(a, row.id).fetch_optional(db).await?;
    let removed = Customer::delete(a).key(row.id).execute(db).await?;
    let own = written == 1 && removed == 1 && found == Some(row);
    Ok(if own { Answer::OwnRow } else { Answer::Changed(written.max(1)) })
}

/// Writes a row, gives it another key, looks where it went, and takes it away again.
async fn rename((a, db): (&TenantScope, &Database), row: Customer, to: i64) -> Result<Answer> {
    Customer::insert(a, row.clone()).execute(db).await?;
    let written = Customer::update(a).set(customers::id, to).key(row.id).execute(db).await?;
    let found = Customer::find(a, to).fetch_optional(db).await?;
    let removed = Customer::delete(a).key(to).execute(db).await?;
    let own = written == 1 && removed == 1 && found == Some(Customer { id: to, ..row });
    Ok(if own { Answer::OwnRow } else { Answer::Changed(written.max(1)) })
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
