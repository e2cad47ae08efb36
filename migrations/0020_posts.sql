-- Those who stand by for a signer each hold a lease under a name of their own; names of processes that are gone are removed.
GRANT DELETE ON leases TO plimsoll_worker;
