//! Documents: texts under the names of their kinds.

use super::world::World;
use crate::{
    Store, StoreError,
    documents::{Document, DocumentQuery, DocumentVersion, Expected, Kind, NAME_MAX},
};

cases![
    a_document_is_read_as_it_was_written,
    a_document_is_written_where_there_is_what_is_expected,
    a_refused_change_changes_nothing,
    a_deleted_document_is_gone,
    kinds_keep_their_names_apart,
    every_change_of_a_kind_is_counted,
    documents_are_listed_by_the_bytes_of_their_names,
    of_writes_at_once_one_finds_what_it_expects,
    another_process_reads_what_was_written,
];

const KIND: Kind = Kind::EventTypes;

async fn put(world: &World, name: &str, body: &str, expected: Expected) -> Result<DocumentVersion, StoreError> {
    world.store().put_document(KIND, name, body.into(), expected).await
}

async fn get(world: &World, name: &str) -> Option<Document> {
    world.store().document(KIND, name).await.unwrap()
}

async fn version(world: &World) -> DocumentVersion {
    world.store().documents_version(KIND).await.unwrap()
}

async fn names(store: &dyn Store, after: Option<&str>, descending: bool, limit: u32) -> Vec<String> {
    let query = DocumentQuery { after: after.map(Into::into), descending, limit };
    store.documents(KIND, query).await.unwrap().into_iter().map(|document| document.name).collect()
}

async fn a_document_is_read_as_it_was_written(world: World) {
    let long = "é".repeat(NAME_MAX / 2);
    for (name, body) in [("a", "{ \"n\":1.0 }"), ("a b:c", "\"é\\u0000 7\""), ("9", "7 8"), (&long, "[]")] {
        let version = put(&world, name, body, Expected::None).await.unwrap();
        let document = Document { name: name.into(), version, body: body.into() };
        assert_eq!(get(&world, name).await, Some(document));
    }
    assert_eq!(get(&world, "b").await, None);
}

async fn a_document_is_written_where_there_is_what_is_expected(world: World) {
    let first = put(&world, "a", "1", Expected::None).await.unwrap();
    let second = put(&world, "a", "2", Expected::Version(first)).await.unwrap();
    let third = put(&world, "a", "3", Expected::Any).await.unwrap();
    assert!(first < second && second < third);
    put(&world, "b", "4", Expected::Any).await.unwrap();
    assert_eq!(get(&world, "a").await.unwrap().body, "3");
    assert_eq!(get(&world, "b").await.unwrap().body, "4");
}

async fn a_refused_change_changes_nothing(world: World) {
    let first = put(&world, "a", "1", Expected::None).await.unwrap();
    let second = put(&world, "a", "2", Expected::Version(first)).await.unwrap();
    for (name, expected) in [("a", Expected::None), ("a", Expected::Version(first)), ("b", Expected::Version(first))] {
        assert!(matches!(put(&world, name, "3", expected).await, Err(StoreError::Conflict)), "{expected:?}");
    }
    let deleted = world.store().delete_document(KIND, "a", Expected::Version(first)).await;
    assert!(matches!(deleted, Err(StoreError::Conflict)));
    assert_eq!(get(&world, "a").await, Some(Document { name: "a".into(), version: second, body: "2".into() }));
    assert_eq!((get(&world, "b").await, version(&world).await), (None, second));
}

async fn a_deleted_document_is_gone(world: World) {
    let first = put(&world, "a", "1", Expected::None).await.unwrap();
    world.store().delete_document(KIND, "a", Expected::Version(first)).await.unwrap();
    assert_eq!(get(&world, "a").await, None);
    assert!(names(&**world.store(), None, false, 10).await.is_empty());
    for expected in [Expected::Any, Expected::Version(first)] {
        let again = world.store().delete_document(KIND, "a", expected).await;
        assert!(matches!(again, Err(StoreError::NotFound)), "{expected:?}");
    }
    let anew = put(&world, "a", "2", Expected::None).await.unwrap();
    assert!(anew > first);
    assert!(matches!(put(&world, "a", "3", Expected::Version(first)).await, Err(StoreError::Conflict)));
}

async fn kinds_keep_their_names_apart(world: World) {
    put(&world, "a", "1", Expected::None).await.unwrap();
    world.store().put_document(Kind::Pauses, "a", "2".into(), Expected::None).await.unwrap();
    world.store().delete_document(Kind::Pauses, "a", Expected::Any).await.unwrap();
    assert_eq!(get(&world, "a").await.unwrap().body, "1");
    assert_eq!(world.store().document(Kind::Pauses, "a").await.unwrap(), None);
}

async fn every_change_of_a_kind_is_counted(world: World) {
    assert_eq!(version(&world).await, DocumentVersion(0));
    let first = put(&world, "a", "1", Expected::None).await.unwrap();
    assert_eq!(version(&world).await, first);
    world.store().put_document(Kind::Pauses, "a", "2".into(), Expected::None).await.unwrap();
    assert_eq!(version(&world).await, first, "another kind's change is no matter");
    world.store().delete_document(KIND, "a", Expected::Any).await.unwrap();
    assert!(version(&world).await > first);
}

async fn documents_are_listed_by_the_bytes_of_their_names(world: World) {
    for name in ["b", "a", "é", "B", "a b", "aa", "10", "9"] {
        put(&world, name, "1", Expected::None).await.unwrap();
    }
    let sorted = ["10", "9", "B", "a", "a b", "aa", "b", "é"];
    let store = &**world.store();
    assert_eq!(names(store, None, false, 100).await, sorted);
    assert_eq!(names(store, None, false, 3).await, sorted[..3]);
    assert_eq!(names(store, Some("B"), false, 3).await, sorted[3..6]);
    assert_eq!(names(store, Some("a a"), false, 2).await, ["a b", "aa"], "the name itself may be gone");
    assert!(names(store, Some("é"), false, 3).await.is_empty());
    let reversed: Vec<_> = sorted.iter().rev().copied().collect();
    assert_eq!(names(store, None, true, 100).await, reversed);
    assert_eq!(names(store, Some("a"), true, 2).await, ["B", "9"]);
    assert!(names(store, Some("10"), true, 3).await.is_empty());
}

async fn of_writes_at_once_one_finds_what_it_expects(world: World) {
    let first = put(&world, "a", "0", Expected::None).await.unwrap();
    let other = world.process().await;
    let writes = (1..=8).map(|number: u32| {
        let store = if number.is_multiple_of(2) { world.store() } else { &other.store };
        store.put_document(KIND, "a", number.to_string(), Expected::Version(first))
    });
    let written = futures_util::future::join_all(writes).await;
    let winners: Vec<_> =
        (1..=8).zip(&written).filter(|(_, result)| result.is_ok()).map(|(number, _)| number).collect();
    let [winner] = winners[..] else { panic!("{written:?}") };
    assert!(written.iter().all(|result| matches!(result, Ok(_) | Err(StoreError::Conflict))), "{written:?}");
    assert_eq!(get(&world, "a").await.unwrap().body, winner.to_string());
}

async fn another_process_reads_what_was_written(world: World) {
    let first = put(&world, "a", "1", Expected::None).await.unwrap();
    let other = world.process().await;
    assert_eq!(other.store.document(KIND, "a").await.unwrap().unwrap().version, first);
    assert_eq!(other.store.documents_version(KIND).await.unwrap(), first);
    let world = world.reopened().await;
    assert_eq!(get(&world, "a").await.unwrap().body, "1");
}
