//! The Chinook music store as three organizations, one for each support representative.

use std::error::Error;
use std::path::{Path, PathBuf};

use rust_decimal::Decimal;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tempfile::TempDir;
use tenantry::ambient::cross_tenant_authority;
use tenantry::audit::MemorySink;
use tenantry::crypto::KeyRing;
use tenantry::query::count;
use tenantry::scope::{MemoryDirectory, Principal, Role, ScopeIssuer};
use tenantry::{Database, OrganizationId, TenantScope};
use time::OffsetDateTime;

use super::tables::{
    Album, Artist, Customer, Genre, Invoice, InvoiceLine, MediaType, Playlist, PlaylistTrack,
    Track, invoices, schema,
};

pub(crate) type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Everything that one organization has.
#[derive(Debug, PartialEq)]
pub(crate) struct Books {
    pub(crate) customers: Vec<Customer>,
    pub(crate) invoices: Vec<Invoice>,
    pub(crate) lines: Vec<InvoiceLine>,
}

impl Books {
    /// Reads them through the organization's own scope.
    pub(crate) async fn of(scope: &TenantScope, db: &Database) -> tenantry::Result<Self> {
        Ok(Self {
            customers: Customer::select(scope).fetch_all(db).await?,
            invoices: Invoice::select(scope).fetch_all(db).await?,
            lines: InvoiceLine::select(scope).fetch_all(db).await?,
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.customers.len() + self.invoices.len() + self.lines.len()
    }
}

/// One organization of the example.
pub(crate) struct Tenant {
    /// The support representative.
    pub(crate) name: String,
    pub(crate) principal: Principal,
    pub(crate) organization: OrganizationId,
    pub(crate) scope: TenantScope,
    /// What the Chinook file says, read without this crate.
    pub(crate) books: Books,
}

/// Totals of one organization, as one aggregate query through its scope gives them.
#[derive(Debug, PartialEq)]
pub(crate) struct Totals {
    pub(crate) customers: i64,
    pub(crate) invoices: i64,
    pub(crate) lines: i64,
    pub(crate) revenue: Option<Decimal>,
}

impl Totals {
    pub(crate) async fn of(scope: &TenantScope, db: &Database) -> tenantry::Result<Self> {
        let all = Invoice::select(scope).aggregate((count(), invoices::total.sum()));
        let (invoices, revenue) = all.fetch_one(db).await?;
        Ok(Self {
            customers: Customer::select(scope).count(db).await?,
            invoices,
            lines: InvoiceLine::select(scope).count(db).await?,
            revenue,
        })
    }

    /// What the Chinook file adds up to, in cents.
    pub(crate) fn expected(representative: &str) -> Option<Self> {
        let (customers, invoices, lines, cents) = match representative {
            "Jane Peacock" => (21, 146, 796, 83_304),
            "Margaret Park" => (20, 140, 760, 77_540),
            "Steve Johnson" => (18, 126, 684, 72_016),
            _ => return None,
        };
        Some(Self { customers, invoices, lines, revenue: Some(Decimal::new(cents, 2)) })
    }
}

/// A running application: one database file, three organizations in it.
pub(crate) struct World {
    pub(crate) db: Database,
    pub(crate) issuer: ScopeIssuer,
    pub(crate) directory: MemoryDirectory,
    pub(crate) audit: MemorySink,
    pub(crate) victim: Tenant,
    pub(crate) attacker: Tenant,
    pub(crate) bystander: Tenant,
    pub(crate) file: PathBuf,
    pub(crate) dir: TempDir,
}

impl World {
    /// Loads Chinook into a fresh database in a temporary directory.
    pub(crate) async fn load() -> Fallible<Self> {
        let mut source = SqliteConnectOptions::new()
            .filename(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/chinook.sqlite"))
            .read_only(true)
            .immutable(true)
            .connect()
            .await?;

        let audit = MemorySink::new();
        let directory = MemoryDirectory::new();
        let issuer = ScopeIssuer::builder(directory.clone()).audit(audit.clone()).build();
        // In this order the organizations stand in the file: `attacks::edited_page` needs it known.
        let mut ids = [OrganizationId::new(), OrganizationId::new(), OrganizationId::new()];
        ids.sort();
        let [first, second, third] = ids;
        let mut tenants = Vec::new();
        for (representative, organization) in [(3, first), (5, second), (4, third)] {
            let name = representative_name(&mut source, representative).await?;
            let principal = Principal::user(name.to_lowercase().replace(' ', "."));
            directory.add_member(&organization, &principal, Role::Owner);
            let scope = issuer.enter(&principal, &organization).await?;
            let books = read_books(&mut source, representative).await?;
            tenants.push(Tenant { name, principal, organization, scope, books });
        }

        let dir = tempfile::tempdir()?;
        let file = dir.path().join("store.sqlite");
        fill(&file, &issuer, &mut source, &tenants).await?;
        source.close().await?;

        // The application itself accepts no cross-tenant authority.
        let db = Database::builder()
            .issuer(&issuer)
            .cursor_keys(KeyRing::random()?)
            .connect(&url(&file), schema())
            .await?;
        let tenants: [Tenant; 3] = tenants.try_into().map_err(|_| "three representatives")?;
        let [victim, attacker, bystander] = tenants;
        Ok(Self { db, issuer, directory, audit, victim, attacker, bystander, file, dir })
    }

    pub(crate) fn tenants(&self) -> [&Tenant; 3] {
        [&self.victim, &self.bystander, &self.attacker]
    }
}

pub(crate) fn url(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

/// Writes the shared catalogue, with cross-tenant authority, and each organization's books, with
/// its scope.
async fn fill(
    file: &Path,
    issuer: &ScopeIssuer,
    source: &mut SqliteConnection,
    tenants: &[Tenant],
) -> Fallible<()> {
    let db = Database::builder()
        .issuer(issuer)
        .allow_cross_tenant()
        .connect(&url(file), schema())
        .await?;
    db.create_tables().await?;

    let authority = cross_tenant_authority("load the catalogue", Principal::job("loader"));
    let rows = sqlx::query_as("SELECT ArtistId, Name FROM Artist").fetch_all(&mut *source).await?;
    let rows = rows.into_iter().map(|(id, name)| Artist { id, name });
    Artist::insert_many_global(&authority, rows).execute(&db).await?;

    let rows = sqlx::query_as("SELECT AlbumId, Title, ArtistId FROM Album")
        .fetch_all(&mut *source)
        .await?;
    let rows = rows.into_iter().map(|(id, title, artist_id)| Album { id, title, artist_id });
    Album::insert_many_global(&authority, rows).execute(&db).await?;

    let rows = sqlx::query_as("SELECT GenreId, Name FROM Genre").fetch_all(&mut *source).await?;
    let rows = rows.into_iter().map(|(id, name)| Genre { id, name });
    Genre::insert_many_global(&authority, rows).execute(&db).await?;

    let rows =
        sqlx::query_as("SELECT MediaTypeId, Name FROM MediaType").fetch_all(&mut *source).await?;
    let rows = rows.into_iter().map(|(id, name)| MediaType { id, name });
    MediaType::insert_many_global(&authority, rows).execute(&db).await?;

    let rows = sqlx::query_as(
        "SELECT TrackId, Name, AlbumId, MediaTypeId, GenreId, Composer, Milliseconds, Bytes, \
         CAST(round(UnitPrice * 100) AS INTEGER) FROM Track",
    );
    let rows = rows.fetch_all(&mut *source).await?.into_iter().map(
        |(id, name, album_id, media_type_id, genre_id, composer, milliseconds, bytes, cents)| {
            Track {
                id,
                name,
                album_id,
                media_type_id,
                genre_id,
                composer,
                milliseconds,
                bytes,
                unit_price: Decimal::new(cents, 2),
            }
        },
    );
    Track::insert_many_global(&authority, rows).execute(&db).await?;

    let rows =
        sqlx::query_as("SELECT PlaylistId, Name FROM Playlist").fetch_all(&mut *source).await?;
    let rows = rows.into_iter().map(|(id, name)| Playlist { id, name });
    Playlist::insert_many_global(&authority, rows).execute(&db).await?;

    let rows =
        sqlx::query_as("SELECT PlaylistId, TrackId FROM PlaylistTrack").fetch_all(source).await?;
    let rows =
        rows.into_iter().map(|(playlist_id, track_id)| PlaylistTrack { playlist_id, track_id });
    PlaylistTrack::insert_many_global(&authority, rows).execute(&db).await?;

    for Tenant { scope, books, .. } in tenants {
        Customer::insert_many(scope, books.customers.clone()).execute(&db).await?;
        Invoice::insert_many(scope, books.invoices.clone()).execute(&db).await?;
        InvoiceLine::insert_many(scope, books.lines.clone()).execute(&db).await?;
    }
    Ok(())
}

async fn representative_name(source: &mut SqliteConnection, id: i64) -> Fallible<String> {
    let name = "SELECT FirstName || ' ' || LastName FROM Employee WHERE EmployeeId = ?";
    Ok(sqlx::query_scalar(name).bind(id).fetch_one(source).await?)
}

/// What belongs to one representative's customers. Ids are counted from 1 in each organization, so
/// that those of different organizations collide; money becomes whole cents before it is summed.
async fn read_books(source: &mut SqliteConnection, representative: i64) -> Fallible<Books> {
    let customers = sqlx::query_as(
        "SELECT row_number() OVER (ORDER BY CustomerId), FirstName, LastName, Company, Address, \
         City, State, Country, PostalCode, Phone, Fax, Email \
         FROM Customer WHERE SupportRepId = ? ORDER BY 1",
    );
    let customers = customers.bind(representative).fetch_all(&mut *source).await?.into_iter().map(
        |(
            id,
            first_name,
            last_name,
            company,
            address,
            city,
            state,
            country,
            postal_code,
            phone,
            fax,
            email,
        )| Customer {
            id,
            first_name,
            last_name,
            company,
            address,
            city,
            state,
            country,
            postal_code,
            phone,
            fax,
            email,
        },
    );
    let customers = customers.collect();

    let invoices = sqlx::query_as(
        "WITH c AS (SELECT CustomerId, row_number() OVER (ORDER BY CustomerId) AS n \
                    FROM Customer WHERE SupportRepId = ?) \
         SELECT row_number() OVER (ORDER BY InvoiceId), c.n, \
                CAST(strftime('%s', InvoiceDate) AS INTEGER), BillingAddress, BillingCity, \
                BillingState, BillingCountry, BillingPostalCode, \
                CAST(round(Total * 100) AS INTEGER) \
         FROM Invoice JOIN c USING (CustomerId) ORDER BY 1",
    );
    let invoices = invoices.bind(representative).fetch_all(&mut *source).await?.into_iter().map(
        |(id, customer_id, seconds, address, city, state, country, postal_code, cents)| {
            Ok::<_, time::error::ComponentRange>(Invoice {
                id,
                customer_id,
                invoiced_at: OffsetDateTime::from_unix_timestamp(seconds)?,
                billing_address: address,
                billing_city: city,
                billing_state: state,
                billing_country: country,
                billing_postal_code: postal_code,
                total: Decimal::new(cents, 2),
            })
        },
    );
    let invoices = invoices.collect::<Result<_, _>>()?;

    let lines = sqlx::query_as(
        "WITH i AS (SELECT InvoiceId, row_number() OVER (ORDER BY InvoiceId) AS n \
                    FROM Invoice JOIN Customer USING (CustomerId) WHERE SupportRepId = ?) \
         SELECT row_number() OVER (ORDER BY InvoiceLineId), i.n, TrackId, \
                CAST(round(UnitPrice * 100) AS INTEGER), Quantity \
         FROM InvoiceLine JOIN i USING (InvoiceId) ORDER BY 1",
    );
    let lines = lines.bind(representative).fetch_all(source).await?.into_iter().map(
        |(id, invoice_id, track_id, cents, quantity)| InvoiceLine {
            id,
            invoice_id,
            track_id,
            unit_price: Decimal::new(cents, 2),
            quantity,
        },
    );
    let lines = lines.collect();
    Ok(Books { customers, invoices, lines })
}
