use proptest::prelude::*;

use super::*;

/// A sorted leaf of at most four numbers, so that trees become deep.
#[derive(Clone, Debug, Default)]
struct Numbers(Vec<u32>);

impl Leaf for Numbers {
    type Key = u32;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn heap_bytes(&self) -> usize {
        self.0.len() * 4
    }

    fn first_key(&self) -> u32 {
        self.0[0]
    }

    fn split(&mut self) -> Option<Self> {
        (self.0.len() > 4).then(|| Self(self.0.split_off(self.0.len().min(4) / 2 + 1)))
    }

    fn is_small(&self) -> bool {
        self.0.len() < 3
    }

    fn absorb(&mut self, next: &Self) -> bool {
        let fits = self.0.len() + next.0.len() <= 3;
        if fits {
            self.0.extend(&next.0);
        }
        fits
    }
}

impl Tree<Numbers> {
    fn insert(&mut self, number: u32) {
        self.edit_by_key(&number, |leaf| {
            if let Err(at) = leaf.0.binary_search(&number) {
                leaf.0.insert(at, number);
            }
        });
    }

    fn remove(&mut self, number: u32) -> bool {
        self.edit_by_key(&number, |leaf| {
            let found = leaf.0.binary_search(&number);
            found.map(|at| leaf.0.remove(at)).is_ok()
        })
    }

    fn elements(&self) -> Vec<u32> {
        self.walk_all()
            .flat_map(|found| found.leaf.0.clone())
            .collect()
    }

    fn check(&self) {
        let (len, bytes) = check(&self.root, true);
        assert_eq!(len, self.len);
        assert_eq!(bytes, self.heap_bytes);
    }
}

/// The elements and the bytes of a node whose counts are as they should be.
fn check(node: &Node<Numbers>, is_root: bool) -> (u64, u64) {
    match node {
        Node::Leaf(leaf) => {
            assert!(is_root || !leaf.is_empty());
            (leaf.len() as u64, leaf_bytes(&**leaf))
        }
        Node::Inner(inner) => {
            assert!(inner.count() <= CHILDREN_MAX);
            let (mut len, mut bytes) = (0, Inner::<Numbers>::bytes());
            for (index, node) in inner.nodes().iter().enumerate() {
                let below = check(node, false);
                assert_eq!(inner.len_of(index), below.0);
                assert!(*inner.least_of(index) <= first_key(node));
                assert!(index == 0 || inner.least_of(index) > inner.least_of(index - 1));
                len += below.0;
                bytes += below.1;
            }
            (len, bytes)
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32),
    Remove(u32),
    RemoveAt(u64),
    Drain(u64, u64),
    Clone,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..2000_u32).prop_map(Step::Insert),
        4 => (0..2000_u32).prop_map(Step::Remove),
        2 => (0..2000_u64).prop_map(Step::RemoveAt),
        1 => (0..2000_u64, 0..300_u64).prop_map(|(from, len)| Step::Drain(from, from + len)),
        1 => Just(Step::Clone),
    ];
    prop::collection::vec(step, 0..800)
}

fn take(tree: &mut Tree<Numbers>, model: &mut Vec<u32>, step: &Step) {
    match *step {
        Step::Insert(number) => {
            tree.insert(number);
            if let Err(at) = model.binary_search(&number) {
                model.insert(at, number);
            }
        }
        Step::Remove(number) => {
            let at = model.binary_search(&number);
            assert_eq!(tree.remove(number), at.is_ok());
            at.into_iter().for_each(|at| {
                model.remove(at);
            });
        }
        Step::RemoveAt(position) => {
            if let Some(number) = model.get(position as usize).copied() {
                let removed = tree.edit_by_position(position, |leaf, offset| leaf.0.remove(offset));
                assert_eq!(removed, number);
                model.remove(position as usize);
            }
        }
        Step::Drain(from, to) => {
            tree.remove_range(from, to, |leaf, from, to| {
                leaf.0.drain(from..to);
            });
            let len = model.len();
            model.drain(len.min(from as usize)..len.min(to as usize));
        }
        Step::Clone => {}
    }
}

proptest! {
    #[test]
    fn a_tree_is_a_sorted_list_and_its_clones_stay(steps in steps()) {
        let (mut tree, mut model) = (Tree::default(), Vec::new());
        let mut kept: Vec<(Tree<Numbers>, Vec<u32>)> = Vec::new();
        for step in &steps {
            take(&mut tree, &mut model, step);
            if matches!(step, Step::Clone) {
                kept.push((tree.clone(), model.clone()));
            }
        }
        kept.push((tree, model));
        for (tree, model) in &kept {
            tree.check();
            prop_assert_eq!(&tree.elements(), model);
        }
    }

    #[test]
    fn elements_are_found_by_key_and_by_position(numbers: Vec<u16>, sought: u16, position in 0..300_u64) {
        let mut tree = Tree::default();
        let mut model: Vec<u32> = numbers.iter().map(|number| u32::from(*number)).collect();
        model.iter().for_each(|number| tree.insert(*number));
        model.sort_unstable();
        model.dedup();
        let sought = u32::from(sought);
        let found = tree.find_by_key(&sought);
        let inside = found.leaf.0.partition_point(|number| *number < sought);
        prop_assert_eq!(found.start as usize + inside, model.partition_point(|number| *number < sought));
        prop_assert_eq!(&tree.leaf_of(&sought).0, &found.leaf.0);
        let position = position.min(model.len() as u64);
        let walked: Vec<u32> = tree
            .walk_from_position(position)
            .flat_map(|found| (found.start..).zip(found.leaf.0.clone()))
            .filter(|(at, _)| *at >= position)
            .map(|(_, number)| number)
            .collect();
        prop_assert_eq!(&walked[..], &model[position as usize..]);
        let mut back: Vec<u32> = tree
            .back_from_key(&sought)
            .flat_map(|found| found.leaf.0.iter().rev().copied().collect::<Vec<_>>())
            .filter(|number| *number <= sought)
            .collect();
        back.reverse();
        prop_assert_eq!(&back[..], &model[..model.partition_point(|number| *number <= sought)]);
    }

    #[test]
    fn a_tree_is_built_of_leaves(numbers in prop::collection::btree_set(any::<u32>(), 0..1000), cut in 1..4_usize) {
        let all: Vec<u32> = numbers.into_iter().collect();
        let tree = Tree::from_leaves(all.chunks(cut).map(|part| Numbers(part.to_vec())));
        tree.check();
        prop_assert_eq!(tree.elements(), all);
    }

    #[test]
    fn a_wreck_gives_back_what_the_tree_took(numbers: Vec<u32>, budget in 1..50_usize, is_shared: bool) {
        let mut tree = Tree::default();
        numbers.iter().for_each(|number| tree.insert(*number));
        let kept = is_shared.then(|| tree.clone());
        let expected = tree.heap_bytes();
        let mut wreck = tree.into_wreck();
        let mut freed = 0;
        loop {
            let (bytes, left) = wreck.free(budget);
            freed += bytes;
            if left > 0 {
                break;
            }
        }
        prop_assert_eq!(freed, expected);
        kept.into_iter().for_each(|kept| kept.check());
    }
}
