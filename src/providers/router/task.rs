//! Which providers are asked for a task, and for one request.

use std::collections::BTreeMap;

use crate::types::Task;

/// `llm.tasks`: for each task `PROVIDER` or `PROVIDER/MODEL`, in the order in which they are asked.
pub type Tasks = BTreeMap<Task, Vec<String>>;

/// The list of a task; where it has none, that of `chat`. Empty: the default provider is asked.
pub(super) fn list(tasks: &Tasks, task: Task) -> &[String] {
    let own = tasks.get(&task).filter(|names| !names.is_empty());
    own.or_else(|| tasks.get(&Task::Chat))
        .map_or(&[], Vec::as_slice)
}

/// Who is to be asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// What for.
    pub task: Task,
    /// The one that was named for this message: it and nobody else.
    pub exact: Option<String>,
    /// Those to ask before the list of the task: what the conversation and the person chose.
    pub preferred: Vec<String>,
}

impl Wish {
    /// Whoever is there for this.
    pub fn of(task: Task) -> Self {
        Self {
            task,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_without_a_list_takes_that_of_chat() {
        let tasks = Tasks::from([
            (Task::Chat, vec!["a".to_owned()]),
            (Task::Classify, vec!["b".to_owned()]),
            (Task::Agent, Vec::new()),
        ]);
        assert_eq!(list(&tasks, Task::Classify), ["b"]);
        assert_eq!(list(&tasks, Task::Summarise), ["a"]);
        assert_eq!(list(&tasks, Task::Agent), ["a"]);
        assert!(list(&Tasks::new(), Task::Chat).is_empty());
    }
}
