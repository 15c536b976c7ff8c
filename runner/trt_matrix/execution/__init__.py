"""The loop: cells → jobs → answers → records; what is known is not measured again."""
