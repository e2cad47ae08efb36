//! Stories as graphs.

use plimsoll_bus::{Context, Event, context, publish};
use plimsoll_identity::UserKind::{Agent, Person};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Api;
use super::streams::Numbering;

const PATH: &str = "/api/v1/events/chain";

fn event(id: &str) -> Event {
    Event::new("/plimsoll/test", "test.happened", json!({ "amount": "1" })).with_id(id)
}

#[tokio::test]
async fn a_story_is_a_graph_of_cloudevents_and_only_its_tenants() {
    let api = Api::start().await;
    let (acme, globex) = (api.tenant_named("acme").await, api.tenant_named("globex").await);
    let (ada, bob) =
        (api.person(acme, Person, &["viewer"]).await, api.person(globex, Agent, &["agent"]).await);
    let story = Context::new(Uuid::from_u128(5), "user:ada").on_behalf_of(acme, Some(ada.user_id));
    let mut tx = api.db.tenant_tx(&[acme, globex]).await.unwrap();
    context::scope(story.clone(), async {
        publish(&mut tx, event("asked").with_target("position", "0x1")).await.unwrap();
        context::scope(story.clone().caused_by("asked"), async {
            publish(&mut tx, Event { version: Some(3), ..event("done") }).await.unwrap();
        })
        .await;
        // Of the same story at another tenant, and another story.
        let elsewhere = story.clone().on_behalf_of(globex, Some(bob.user_id)).caused_by("asked");
        publish(&mut tx, event("elsewhere").in_context(elsewhere)).await.unwrap();
        let other = Context::new(Uuid::from_u128(6), "user:ada").on_behalf_of(acme, Some(ada.user_id));
        publish(&mut tx, event("other").in_context(other)).await.unwrap();
    })
    .await;
    tx.commit().await.unwrap();
    let path = format!("{PATH}/{}", story.correlation_id);
    api.read(&ada, &path).await.refused(404, "not-found");
    Numbering::of(&api.db).await.number_all().await;

    let mut graph = api.read(&ada, &path).await.expect(200);
    let [first, second] = [1, 2].map(|number| format!("{number:019}"));
    assert_eq!(graph["edges"], json!([{ "cause": first, "effect": second }]));
    assert_eq!((&graph["roots"], &graph["truncated"]), (&json!([first]), &json!(false)));
    assert!(
        graph["nodes"][0]["time"].take().is_string() && graph["nodes"][0]["recordedtime"].take().is_string()
    );
    assert_eq!(
        graph["nodes"][0],
        json!({
            "specversion": "1.0", "id": "asked", "source": "/plimsoll/test", "type": "test.happened", "time": null, "datacontenttype": "application/json",
            "sequence": first, "correlationid": story.correlation_id, "requestid": story.request_id, "tenantid": acme, "userid": ada.user_id,
            "actorid": "user:ada", "targettype": "position", "targetid": "0x1", "recordedtime": null, "data": { "amount": "1" },
        })
    );
    assert_eq!(
        (&graph["nodes"][1]["causationid"], &graph["nodes"][1]["version"]),
        (&json!("asked"), &json!("3"))
    );
    let ids: Vec<&Value> = graph["nodes"].as_array().unwrap().iter().map(|node| &node["id"]).collect();
    assert_eq!(ids, ["done", "asked"].map(Value::from).iter().rev().collect::<Vec<_>>());

    let seen = api.read(&bob, &path).await.expect(200);
    let ids: Vec<&Value> = seen["nodes"].as_array().unwrap().iter().map(|node| &node["id"]).collect();
    assert_eq!(
        (ids, &seen["edges"]),
        (vec![&json!("elsewhere")], &json!([])),
        "its cause is not theirs to see"
    );
    for unknown in ["nothing", "%00", &"x".repeat(256)] {
        api.read(&ada, &format!("{PATH}/{unknown}")).await.refused(404, "not-found");
    }
    api.problem(&path, 401, "unauthenticated").await;
    let stranger = api.person(acme, Person, &[]).await;
    api.read(&stranger, &path).await.refused(403, "forbidden");
}
