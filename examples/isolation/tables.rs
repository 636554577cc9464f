//! Chinook's tables: a catalogue that all organizations share, and what each has of its own.

use rust_decimal::Decimal;
use tenantry::table::Schema;
use time::OffsetDateTime;

// ---- the catalogue, which all organizations share

tenantry::global_table! {
    #[derive(Debug)]
    pub(crate) struct Artist in artists { key id: i64, name: Option<String> }
}

tenantry::global_table! {
    #[derive(Debug)]
    pub(crate) struct Album in albums { key id: i64, title: String, artist_id: i64 => artists }
}

tenantry::global_table! {
    #[derive(Debug)]
    pub(crate) struct Genre in genres { key id: i64, name: Option<String> }
}

tenantry::global_table! {
    #[derive(Debug)]
    pub(crate) struct MediaType in media_types { key id: i64, name: Option<String> }
}

tenantry::global_table! {
    #[derive(Debug)]
    pub(crate) struct Track in tracks {
        key id: i64,
        name: String,
        album_id: Option<i64> => albums,
        media_type_id: i64 => media_types,
        genre_id: Option<i64> => genres,
        composer: Option<String>,
        milliseconds: i64,
        bytes: Option<i64>,
        unit_price: Decimal as scale 2,
    }
}

tenantry::global_table! {
    #[derive(Debug)]
    pub(crate) struct Playlist in playlists { key id: i64, name: Option<String> }
}

tenantry::global_table! {
    #[derive(Debug)]
    pub(crate) struct PlaylistTrack in playlist_tracks {
        key playlist_id: i64 => playlists,
        key track_id: i64 => tracks,
    }
}

// ---- what each organization has of its own

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Customer in customers {
        key id: i64,
        first_name: String,
        last_name: String,
        company: Option<String>,
        address: Option<String>,
        city: Option<String>,
        state: Option<String>,
        country: Option<String>,
        postal_code: Option<String>,
        phone: Option<String>,
        fax: Option<String>,
        email: String,
    }
    unique (email);
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Invoice in invoices {
        key id: i64,
        customer_id: i64 => customers,
        invoiced_at: OffsetDateTime,
        billing_address: Option<String>,
        billing_city: Option<String>,
        billing_state: Option<String>,
        billing_country: Option<String>,
        billing_postal_code: Option<String>,
        total: Decimal as scale 2,
    }
    index (invoiced_at);
}

tenantry::tenant_table! {
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct InvoiceLine in invoice_lines {
        key id: i64,
        invoice_id: i64 => invoices,
        track_id: i64 => tracks,
        unit_price: Decimal as scale 2,
        quantity: i64,
    }
}

pub(crate) fn schema() -> Schema {
    Schema::new()
        .global::<Artist>()
        .global::<Album>()
        .global::<Genre>()
        .global::<MediaType>()
        .global::<Track>()
        .global::<Playlist>()
        .global::<PlaylistTrack>()
        .tenant::<Customer>()
        .tenant::<Invoice>()
        .tenant::<InvoiceLine>()
}
