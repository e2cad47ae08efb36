// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// Counts how often each request took effect: what a relayer is judged by.
contract RequestCounter {
    /// The request was refused.
    error Refused(bytes32 requestId);

    event Performed(bytes32 indexed requestId, uint256 count);

    mapping(bytes32 requestId => uint256 count) public performed;

    /// While set, everything is refused.
    bool public refuses;

    function setRefuses(bool on) external {
        refuses = on;
    }

    function perform(bytes32 requestId) external payable {
        if (refuses) revert Refused(requestId);
        uint256 count = ++performed[requestId];
        emit Performed(requestId, count);
    }
}
