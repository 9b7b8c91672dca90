//! Mathematics problems, a grader, and honest statistics. No tensors.
