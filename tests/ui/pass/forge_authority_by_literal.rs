// An authority is taken by name, with a reason.

include!("../tables.rs");

fn authority(principal: tenantry::scope::Principal) -> ambient::CrossTenantAuthority {
    ambient::cross_tenant_authority("invoices", principal)
}

fn main() {}
