-- Lets one program at a time change plans, until the end of the transaction; readers go on.
LOCK TABLE plan_versions IN SHARE ROW EXCLUSIVE MODE;
