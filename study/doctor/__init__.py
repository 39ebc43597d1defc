"""`qar doctor`: checks of a cluster and of a study before training starts.

Importing this package imports none of its modules: each public name imports its module when it is first used.
"""

from typing import TYPE_CHECKING

from trainables.lazy import lazy_names

if TYPE_CHECKING:
    from study.doctor.check import Check, Node, UnreachableNode, check_lines
    from study.doctor.cluster_checks import check_cluster
    from study.doctor.examine import examine_cluster, probe_cluster
    from study.doctor.probe import NodeProbe, probe_node
    from study.doctor.study_checks import check_study
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "Check": "check",
            "Node": "check",
            "NodeProbe": "probe",
            "UnreachableNode": "check",
            "check_cluster": "cluster_checks",
            "check_lines": "check",
            "check_study": "study_checks",
            "examine_cluster": "examine",
            "probe_cluster": "examine",
            "probe_node": "probe",
        },
    )


__all__ = [
    "Check",
    "Node",
    "NodeProbe",
    "UnreachableNode",
    "check_cluster",
    "check_lines",
    "check_study",
    "examine_cluster",
    "probe_cluster",
    "probe_node",
]
