// The declarations of every case, taken in with `include!`.

#[allow(unused_imports, reason = "each case picks")]
use tenantry::{
    Database, OrganizationId, Result, TenantScope, ambient,
    database::Transaction,
    query::{Prepared, PreparedDelete, PreparedUpdate, all, count},
    table::{First, Schema, Second},
};
#[allow(unused_imports, reason = "each case picks")]
use uuid::Uuid;

tenantry::tenant_table! {
    #[derive(Debug, Clone)]
    pub struct Customer in customers {
        key id: Uuid,
        name: String,
    }
}

tenantry::tenant_table! {
    #[derive(Debug, Clone)]
    pub struct Order in orders {
        key id: Uuid,
        customer_id: Uuid => customers,
        email: String,
        total_cents: i64,
        note: Option<String>,
    }
    unique (email);
}

tenantry::tenant_table! {
    #[derive(Debug, Clone)]
    pub struct Employee in employees {
        key id: i64,
        name: String,
        boss: Option<i64> => employees,
    }
}

tenantry::global_table! {
    #[derive(Debug, Clone)]
    pub struct Genre in genres {
        key id: i64,
        name: String,
    }
}
