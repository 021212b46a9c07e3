//! Changes of long lists for which an element is sought first.

use super::rests::{MANY, keys_of_shards, number, strings};
use super::staged::OPTIONS;
use super::*;

/// A client, and a list of [`MANY`] numbers with as many equal elements behind them.
fn long_list(node: &mut Node, key: &[u8]) -> ClientId {
    let client = node.connect(0);
    node.ask(client, &[b"del", key]);
    node.fill(client, b"rpush", key, |index| vec![number(index)]);
    node.fill(client, b"rpush", key, |_| vec![b"same".to_vec()]);
    client
}

#[test]
fn a_pivot_is_found_wherever_it_is() {
    let mut node = Node::start(&OPTIONS);
    for key in keys_of_shards(&node) {
        let client = long_list(&mut node, &key);
        let mut insert = |side: &[u8], pivot: &[u8]| {
            let args: [&[u8]; 5] = [b"linsert", &key, side, pivot, b"new"];
            let reply = node.ask(client, &args);
            let left = strings(&node.ask(client, &[b"lrange", &key, b"0", b"-1"]));
            let at = left.iter().position(|element| element == b"new");
            node.ask(client, &[b"lrem", &key, b"1", b"new"]);
            (reply, at)
        };
        let longer = b":10001\r\n".to_vec();
        assert_eq!(insert(b"before", &number(0)), (longer.clone(), Some(0)));
        assert_eq!(
            insert(b"after", &number(2047)),
            (longer.clone(), Some(2048))
        );
        assert_eq!(
            insert(b"before", &number(2048)),
            (longer.clone(), Some(2048))
        );
        assert_eq!(
            insert(b"after", &number(4999)),
            (longer.clone(), Some(5000))
        );
        assert_eq!(insert(b"before", b"same"), (longer, Some(5000)));
        assert_eq!(insert(b"after", b"missing"), (b":-1\r\n".to_vec(), None));
    }
}

#[test]
fn equal_elements_are_removed_from_either_end() {
    let mut node = Node::start(&OPTIONS);
    for key in keys_of_shards(&node) {
        let client = long_list(&mut node, &key);
        node.ask(client, &[b"lpush", &key, b"same"]);
        let mut remove = |count: &[u8], element: &[u8]| {
            let reply = node.ask(client, &[b"lrem", &key, count, element]);
            let left = strings(&node.ask(client, &[b"lrange", &key, b"0", b"-1"]));
            (reply, left)
        };
        let (reply, left) = remove(b"2", b"same");
        assert_eq!(reply, b":2\r\n");
        assert_eq!((left.len(), &left[0]), (MANY * 2 - 1, &number(0)));
        let (reply, left) = remove(b"-1", &number(1));
        assert_eq!(reply, b":1\r\n");
        assert_eq!((left.len(), &left[1]), (MANY * 2 - 2, &number(2)));
        assert_eq!(remove(b"0", b"missing"), (b":0\r\n".to_vec(), left));
        let (reply, left) = remove(b"0", b"same");
        assert_eq!(reply, b":4999\r\n");
        let numbers = (0..MANY).filter(|index| *index != 1);
        assert!(left.into_iter().eq(numbers.map(number)));
        node.ask(client, &[b"del", &key]);
        node.fill(client, b"rpush", &key, |_| vec![b"same".to_vec()]);
        assert_eq!(
            node.ask(client, &[b"lrem", &key, b"-9000", b"same"]),
            b":5000\r\n"
        );
        assert_eq!(node.ask(client, &[b"exists", &key]), b":0\r\n");
    }
}

#[test]
fn others_are_served_while_an_element_is_sought() {
    let mut node = Node::start(&OPTIONS);
    let key = keys_of_shards(&node).swap_remove(0);
    let client = long_list(&mut node, &key);
    let other = node.connect(0);
    let requests: [&[&[u8]]; 2] = [
        &[b"linsert", &key, b"after", b"missing", b"new"],
        &[b"lrem", &key, b"0", b"missing"],
    ];
    for request in requests {
        let mut served = 0;
        node.in_rounds(client, request, |node| {
            served += node.replies(other).len() / b"+PONG\r\n".len();
            node.put(other, &encoded(&[b"ping"]));
            !node.clients[client].received.is_empty()
        });
        assert!(served >= 4, "{served} requests in 10,000 elements");
        node.settle();
        node.replies(client);
        node.replies(other);
    }
}
