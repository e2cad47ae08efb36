// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// Makes calls that users authorised with a signature (EIP-712), each request once, whoever brings them.
///
/// The call is made with the user's address behind its calldata (ERC-2771): a target that trusts this contract takes the last 20 bytes for its caller.
/// A call that fails is undone as a whole, its request included, and can be brought again until its deadline.
contract Forwarder {
    /// The authorisation was good until `deadline`.
    error AuthorizationExpired(uint256 deadline);
    /// The user's request took effect already.
    error RequestUsed(address from, bytes32 requestId);
    /// A request without an id could not be told from another.
    error RequestIdMissing();
    /// Somebody else signed, or something else was signed.
    error WrongSignature(address expected, address found);
    /// There is no contract to call.
    error NoContract(address to);

    event Forwarded(bytes32 indexed requestId, address indexed from, address indexed to);

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant REQUEST_TYPEHASH =
        keccak256("ForwardRequest(address from,address to,bytes data,bytes32 requestId,uint256 deadline)");
    /// Half the order of secp256k1: above it a signature has a twin (EIP-2).
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    mapping(address from => mapping(bytes32 requestId => bool used)) public used;

    function execute(
        address from,
        address to,
        bytes calldata data,
        bytes32 requestId,
        uint256 deadline,
        bytes calldata signature
    ) external returns (bytes memory result) {
        if (block.timestamp > deadline) revert AuthorizationExpired(deadline);
        if (requestId == bytes32(0)) revert RequestIdMissing();
        if (used[from][requestId]) revert RequestUsed(from, requestId);
        if (to.code.length == 0) revert NoContract(to);
        address found = recover(digest(from, to, data, requestId, deadline), signature);
        if (found == address(0) || found != from) revert WrongSignature(from, found);

        used[from][requestId] = true;
        bool isDone;
        (isDone, result) = to.call(abi.encodePacked(data, from));
        if (!isDone) {
            // As it failed, word for word.
            assembly ("memory-safe") {
                revert(add(result, 0x20), mload(result))
            }
        }
        emit Forwarded(requestId, from, to);
    }

    /// What the user signs.
    function digest(address from, address to, bytes calldata data, bytes32 requestId, uint256 deadline)
        public
        view
        returns (bytes32)
    {
        bytes32 domain = keccak256(
            abi.encode(
                DOMAIN_TYPEHASH, keccak256("PlimsollForwarder"), keccak256("1"), block.chainid, address(this)
            )
        );
        bytes32 request =
            keccak256(abi.encode(REQUEST_TYPEHASH, from, to, keccak256(data), requestId, deadline));
        return keccak256(abi.encodePacked(hex"1901", domain, request));
    }

    function recover(bytes32 hash, bytes calldata signature) private pure returns (address) {
        if (signature.length != 65) return address(0);
        bytes32 r = bytes32(signature[0:32]);
        bytes32 s = bytes32(signature[32:64]);
        if (uint256(s) > HALF_ORDER) return address(0);
        return ecrecover(hash, uint8(signature[64]), r, s);
    }
}
