//! Three mixnodes, two clients, a question, and an answer to somebody unknown.

use std::error::Error;
use std::time::Duration;

use fogcompute::{
    MixnetClient, MixnetClientConfig, MixnetNode, MixnetNodeConfig, TopologyOptions, topology,
};

fn main() -> Result<(), Box<dyn Error>> {
    // Mixnodes on ports that are free. Of several operators, each would start one.
    let nodes = (0..3)
        .map(|_| MixnetNode::start(MixnetNodeConfig::default()))
        .collect::<Result<Vec<_>, _>>()?;

    // One node in each layer; a node holds a packet for 20 ms in the mean.
    let layers = nodes.iter().map(|node| vec![node.descriptor()]).collect();
    let options = TopologyOptions {
        delay_mean: Duration::from_millis(20),
        ..TopologyOptions::default()
    };
    let network = topology(layers, &options)?;
    for node in &nodes {
        node.set_topology(&network)?;
    }

    let alice = MixnetClient::start(network.clone(), MixnetClientConfig::default())?;
    let bob = MixnetClient::start(network, MixnetClientConfig::default())?;

    // Bob learns the question, and nothing of who asks.
    let within = Duration::from_secs(30);
    let answer = alice.request(bob.contact()?, b"what is the answer?", 100, within)?;
    let question = bob.receive_within(within)?.ok_or("no question came")?;
    println!("bob is asked: {}", String::from_utf8_lossy(&question.body));
    bob.reply(&question.reply, b"42")?;

    let answer = answer.wait()?;
    println!("alice hears: {}", String::from_utf8_lossy(&answer));
    let forwarded = nodes[0].stats()?.mix.forwarded;
    assert!(forwarded > 0, "both went through it");
    Ok(())
}
