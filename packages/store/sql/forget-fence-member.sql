-- Removes a member of the fence.
--   $1 uuid member id
DELETE FROM fence_members WHERE member_id = $1;
