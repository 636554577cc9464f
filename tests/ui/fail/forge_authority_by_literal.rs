// An authority is taken by name, with a reason.

include!("../tables.rs");

fn authority(principal: tenantry::scope::Principal) -> ambient::CrossTenantAuthority {
    ambient::CrossTenantAuthority { reason: "invoices", principal }
}

fn main() {}
