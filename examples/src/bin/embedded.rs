//! A store inside this process: no broker, no sockets. Run: `cargo run --bin embedded [FOLDER]`
//! With a folder it finds the events of its earlier runs again.

use store::{ContentType, ExpectedVersion, NewEvent, Node, NodeOptions, StoreName, StreamName};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let folder = std::env::args_os().nth(1).unwrap_or_else(|| temporary.path().into());
    let node = Node::open(folder.as_ref(), &NodeOptions::default())?;
    let orders = node.ensure_store(&StoreName::new("orders")?, 1, 0..=0)?;

    let stream = StreamName::try_from("order-17")?;
    let placed = NewEvent::new("OrderPlaced".parse()?, ContentType::Json, r#"{"total":12}"#);
    let receipt = orders.append(&stream, ExpectedVersion::Any, vec![placed])?;
    println!("appended as {}, durable: {:?}", receipt.first, receipt.durability);

    for event in orders.read_all(orders.partition_of(&stream), receipt.first)? {
        let event = event?;
        println!("{} {} {}", event.stream, event.version, event.event_type);
    }
    Ok(())
}
