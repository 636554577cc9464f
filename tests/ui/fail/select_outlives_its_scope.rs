// A statement does not outlive its scope.

include!("../tables.rs");

async fn orders_of(
    organization: OrganizationId,
    issuer: &tenantry::scope::ScopeIssuer,
    ann: &tenantry::scope::Principal,
    db: &Database,
) -> Result<Vec<Order>> {
    let select = Order::select(&issuer.enter(ann, organization).await?);
    select.fetch_all(db).await
}

fn main() {}
